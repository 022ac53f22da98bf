"""InfoGAN's codes and their likelihood: distributions, PyTorch's values, and the gradient that must exist."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgan.objectives.mutual_information import code_loss, codes, noise

RNG = np.random.default_rng(0)
Z = jax.random.normal(jax.random.key(0), (4000, 9))


def test_codes_are_the_maximum_and_the_entries_behind_it():
    z = jnp.array([[0.1, 3.0, -1.0, 0.5, 9.0, 7.0], [-4.0, -5.0, -3.0, 0.25, -9.0, 8.0]])
    one_hot, values = codes(z, categorical=3, continuous=2)
    np.testing.assert_array_equal(one_hot, [[0, 1, 0], [0, 0, 1]])
    np.testing.assert_array_equal(values, [[0.5, 9.0], [0.25, -9.0]])
    np.testing.assert_array_equal(noise(z, categorical=3, continuous=2), [[7.0], [8.0]])


def test_the_discrete_code_is_uniform_and_says_nothing_of_the_others():
    one_hot, values = codes(Z, categorical=4, continuous=2)
    np.testing.assert_allclose(np.mean(one_hot, axis=0), 0.25, atol=0.025)
    rest = np.concatenate([values, noise(Z, categorical=4, continuous=2)], axis=1)
    assert rest.shape == (4000, 5)
    for k in range(4):
        np.testing.assert_allclose(rest[np.asarray(one_hot[:, k]) == 1].mean(axis=0), 0.0, atol=0.12)


def test_one_kind_of_code_may_be_missing():
    one_hot, values = codes(Z, categorical=0, continuous=3)
    assert one_hot.shape == (4000, 0) and values.shape == (4000, 3)
    assert codes(Z, categorical=9, continuous=0)[1].shape == (4000, 0)
    np.testing.assert_array_equal(noise(Z, categorical=0, continuous=0), Z)


@pytest.mark.parametrize(("categorical", "continuous"), [(1, 2), (-1, 2), (2, -1)])
def test_impossible_codes(categorical, continuous):
    with pytest.raises(ValueError, match="must be 0 or at least 2"):
        codes(Z, categorical=categorical, continuous=continuous)


def test_too_few_latents_for_the_codes():
    with pytest.raises(ValueError, match=r"z \(shape \(4000, 9\)\).*latent_dim >= 12.*10 discrete and 2 continuous"):
        noise(Z)


def q_outputs(batch=6, k=4, c=2):
    logits, mean, log_var = (RNG.normal(size=(batch, n)).astype(np.float32) for n in (k, c, c))
    return {"code_logits": logits, "code_mean": mean, "code_log_var": log_var}


@pytest.mark.parametrize("with_variance", [True, False])
def test_likelihood_and_gradients_are_those_of_pytorchs_distributions(with_variance):
    torch = pytest.importorskip("torch")
    out = q_outputs()
    if not with_variance:
        del out["code_log_var"]
    one_hot, values = codes(Z[:6], categorical=4, continuous=2)
    tensors = {name: torch.tensor(x, requires_grad=True) for name, x in out.items()}
    std = torch.exp(tensors["code_log_var"] / 2) if with_variance else torch.ones(6, 2)
    discrete = torch.distributions.OneHotCategorical(logits=tensors["code_logits"])
    gaussian = torch.distributions.Normal(tensors["code_mean"], std)
    expected = -discrete.log_prob(torch.tensor(np.asarray(one_hot)))
    expected = expected - gaussian.log_prob(torch.tensor(np.asarray(values))).sum(1)
    expected.mean().backward()
    np.testing.assert_allclose(code_loss(one_hot, values, **out), expected.detach(), rtol=1e-5)
    gradients = jax.grad(lambda out: jnp.mean(code_loss(one_hot, values, **out)))(out)
    for name, gradient in gradients.items():
        np.testing.assert_allclose(gradient, tensors[name].grad, rtol=1e-4, atol=1e-6)
        assert np.any(gradient)


def test_a_perfect_reading_reaches_the_bound():
    one_hot, values = codes(Z[:6], categorical=4, continuous=2)
    loss = code_loss(one_hot, values, code_logits=100 * one_hot, code_mean=values)
    np.testing.assert_allclose(loss, np.log(2 * np.pi), rtol=1e-6)  # two Gaussians at their means
    np.testing.assert_allclose(code_loss(one_hot, values[:, :0], code_logits=100 * one_hot), 0.0, atol=1e-6)


@pytest.mark.parametrize("name", ["code_logits", "code_mean"])
@pytest.mark.parametrize("shape", [None, (6, 7), (6,)])
def test_outputs_unlike_their_codes_are_named(name, shape):
    one_hot, values = codes(Z[:6], categorical=4, continuous=2)
    out = q_outputs() | {name: None if shape is None else np.zeros(shape, np.float32)}
    with pytest.raises(ValueError, match=rf"{name} .* must have the shape of its codes"):
        code_loss(one_hot, values, **out)
