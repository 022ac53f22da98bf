"""Gradient penalties: critics whose gradients are known, PyTorch's double backward, and independence of the images."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from jaxgan.objectives import penalties

SHAPE = (4, 3, 2, 2)  # (B, H, W, C)
KEY = jax.random.key(7)
RNG = np.random.default_rng(0)
REAL = RNG.normal(size=SHAPE).astype(np.float32)
FAKE = RNG.normal(size=SHAPE).astype(np.float32)
WEIGHT = RNG.normal(size=SHAPE[1:]).astype(np.float32)

PENALTIES = {
    "wgan_gp": lambda critic, real=REAL, fake=FAKE: penalties.wgan_gp(critic, real, fake, KEY),
    "dragan": lambda critic, real=REAL, fake=FAKE: penalties.dragan(critic, real, KEY),
    "r1": lambda critic, real=REAL, fake=FAKE: penalties.r1(critic, real),
    "r2": lambda critic, real=REAL, fake=FAKE: penalties.r2(critic, fake),
}


def linear(x):
    """Gradient: WEIGHT, for every image and everywhere."""
    return jnp.sum(x * WEIGHT[None], axis=(1, 2, 3))


def quadratic(x):
    """Gradient: the image itself."""
    return 0.5 * jnp.sum(jnp.square(x), axis=(1, 2, 3))


def images_given(penalty):
    """Returns the images at which `penalty(critic)` evaluates its critic: (1/2)|x|^2 has the gradient x."""
    images = []

    @jax.custom_vjp
    def critic(x):
        return jnp.zeros(x.shape[0])

    critic.defvjp(lambda x: (jnp.zeros(x.shape[0]), x), lambda x, _: (images.append(np.asarray(x)), (x,))[1])
    penalty(critic)
    return images[0]


def test_linear_critic_has_its_weight_as_gradient_everywhere():
    squared = np.sum(WEIGHT**2)
    expected = {"r1": squared, "r2": squared}
    for name, penalty in PENALTIES.items():
        value = penalty(linear)
        assert value.shape == (4,) and value.dtype == jnp.float32
        np.testing.assert_allclose(value, expected.get(name, (np.sqrt(squared) - 1.0) ** 2), rtol=1e-5)


def test_r1_and_r2_of_a_quadratic_critic_are_the_squared_norms_of_their_own_images():
    np.testing.assert_allclose(penalties.r1(quadratic, REAL), np.sum(REAL**2, axis=(1, 2, 3)), rtol=1e-5)
    np.testing.assert_allclose(penalties.r2(quadratic, FAKE), np.sum(FAKE**2, axis=(1, 2, 3)), rtol=1e-5)


def test_wgan_gp_evaluates_between_each_real_and_its_fake_with_one_eps_per_image():
    given = images_given(PENALTIES["wgan_gp"])
    eps = (given - FAKE) / (REAL - FAKE)
    per_image = eps.mean(axis=(1, 2, 3), keepdims=True)
    np.testing.assert_allclose(eps, np.broadcast_to(per_image, SHAPE), atol=1e-3)  # a quotient of small differences
    assert len(np.unique(np.round(per_image, 3))) == SHAPE[0]
    assert (per_image >= 0).all() and (per_image <= 1).all()


def test_wgan_gp_mixes_uniformly():
    real, fake = np.ones((4096, 1, 1, 1), np.float32), np.zeros((4096, 1, 1, 1), np.float32)
    eps = images_given(lambda critic: penalties.wgan_gp(critic, real, fake, KEY))
    quantiles = np.quantile(eps, [0.0, 0.25, 0.5, 0.75, 1.0])
    np.testing.assert_allclose(quantiles, [0.0, 0.25, 0.5, 0.75, 1.0], atol=0.03)


def test_wgan_gp_of_a_quadratic_critic_is_the_norm_at_the_interpolate():
    norm = np.sqrt(np.sum(images_given(PENALTIES["wgan_gp"]) ** 2, axis=(1, 2, 3)))
    np.testing.assert_allclose(PENALTIES["wgan_gp"](quadratic), (norm - 1.0) ** 2, rtol=1e-5)


def test_dragan_perturbs_upwards_by_half_the_standard_deviation_at_most():
    real = RNG.normal(3.0, 2.0, (512, 4, 4, 1)).astype(np.float32)
    noise = (images_given(lambda critic: penalties.dragan(critic, real, KEY)) - real) / (0.5 * np.std(real))
    assert noise.min() > -1e-6 and noise.max() < 1.0 + 1e-6
    # noise = (1 - a) b: mean 1/4; within an image b varies around it with (1 - a) fixed, so the image means spread
    # like (1 - a) / 2, standard deviation 1 / sqrt(48), widened a little by the mean of 16 values of b.
    np.testing.assert_allclose(noise.mean(), 0.25, atol=0.02)
    spread = np.sqrt(1 / 48 + (1 / 3) * (1 / 12) / 16)
    np.testing.assert_allclose(noise.mean(axis=(1, 2, 3)).std(), spread, rtol=0.1)
    assert noise[0].std() > 0.0


def test_dragan_target_moves_the_norm_that_is_asked_for():
    norm = np.sqrt(np.sum(WEIGHT**2))
    np.testing.assert_allclose(penalties.dragan(linear, REAL, KEY, target=0.5), (norm - 0.5) ** 2, rtol=1e-5)


def test_other_keys_give_other_interpolates():
    for penalty in (
        lambda critic, key: penalties.wgan_gp(critic, REAL, FAKE, key),
        lambda critic, key: penalties.dragan(critic, REAL, key),
    ):
        first, again = penalty(quadratic, KEY), penalty(quadratic, KEY)
        np.testing.assert_array_equal(first, again)
        assert not np.allclose(first, penalty(quadratic, jax.random.key(8)))


@pytest.mark.parametrize("name", ["r1", "r2"])
def test_images_do_not_influence_each_other(name):
    def critic(x):
        return jnp.sum(jnp.sin(x) * WEIGHT[None], axis=(1, 2, 3))

    order = np.array([2, 0, 3, 1])
    together = PENALTIES[name](critic)
    np.testing.assert_array_equal(together[order], PENALTIES[name](critic, REAL[order], FAKE[order]))
    alone = [PENALTIES[name](critic, REAL[i : i + 1], FAKE[i : i + 1])[0] for i in range(SHAPE[0])]
    np.testing.assert_allclose(together, alone, rtol=1e-6)


def test_gradient_norm_penalty_is_per_image_not_per_batch():
    scale = jnp.array([0.0, 1.0, 2.0, 3.0])

    def critic(x):
        return scale * x[:, 0, 0, 0]  # gradient norms 0, 1, 2, 3

    np.testing.assert_allclose(penalties.gradient_norm_penalty(critic, REAL), [1.0, 0.0, 1.0, 4.0], atol=1e-6)


def test_a_vanishing_gradient_gives_a_finite_value_and_a_zero_derivative():
    def mean_penalty(scale):
        return jnp.mean(penalties.gradient_norm_penalty(lambda x: scale * jnp.sum(x, axis=(1, 2, 3)), REAL))

    value, derivative = jax.value_and_grad(mean_penalty)(jnp.array(0.0))
    assert value == 1.0 and derivative == 0.0
    # Next to zero the derivative is that of (s |1| - 1)^2, so the guard does not swallow small gradients.
    norm = np.sqrt(np.prod(SHAPE[1:]))
    np.testing.assert_allclose(jax.grad(mean_penalty)(jnp.array(1e-6)), -2.0 * norm, rtol=1e-4)


def smooth_critic(params, x):
    hidden = jnp.tanh(jnp.einsum("bhwc,hwcd->bd", x, params["w1"]) + params["b1"][None])
    return hidden @ params["w2"]


def smooth_params():
    rng = np.random.default_rng(3)
    return {
        "w1": jnp.asarray(rng.normal(0, 0.5, (*SHAPE[1:], 5)), jnp.float32),
        "b1": jnp.asarray(rng.normal(0, 0.5, (5,)), jnp.float32),
        "w2": jnp.asarray(rng.normal(0, 1.0, (5,)), jnp.float32),
    }


@pytest.mark.parametrize("name", list(PENALTIES))
def test_derivative_with_respect_to_the_critics_parameters(name):
    def loss(params):
        return jnp.mean(PENALTIES[name](lambda x: smooth_critic(params, x)))

    check_grads(loss, (smooth_params(),), order=1, modes=["rev"], atol=2e-2, rtol=2e-2)


@pytest.mark.parametrize("name", list(PENALTIES))
def test_values_and_parameter_gradients_equal_torch_double_backward(name):
    torch = pytest.importorskip("torch")
    params = smooth_params()
    torch_params = {k: torch.tensor(np.asarray(v), requires_grad=True) for k, v in params.items()}
    images = {"r1": REAL, "r2": FAKE}.get(name)
    images = images_given(PENALTIES[name]) if images is None else images
    x = torch.tensor(images, requires_grad=True)
    hidden = torch.tanh(torch.einsum("bhwc,hwcd->bd", x, torch_params["w1"]) + torch_params["b1"])
    (gradient,) = torch.autograd.grad((hidden @ torch_params["w2"]).sum(), x, create_graph=True)
    if name in ("r1", "r2"):
        expected = gradient.square().sum(dim=(1, 2, 3))
    else:
        expected = (gradient.flatten(1).norm(2, dim=1) - 1.0) ** 2
    expected.mean().backward()

    values = PENALTIES[name](lambda x: smooth_critic(params, x))
    np.testing.assert_allclose(values, expected.detach().numpy(), rtol=1e-4, atol=1e-6)
    grads = jax.grad(lambda p: jnp.mean(PENALTIES[name](lambda x: smooth_critic(p, x))))(params)
    for key, grad in grads.items():
        reference = torch_params[key].grad
        reference = np.zeros(grad.shape) if reference is None else reference.numpy()
        np.testing.assert_allclose(grad, reference, rtol=1e-3, atol=1e-5, err_msg=key)


@pytest.mark.parametrize("name", list(PENALTIES))
def test_images_are_constants_to_autodiff(name):
    def loss(real, fake):
        return jnp.sum(PENALTIES[name](quadratic, real, fake))

    for gradient in jax.grad(loss, argnums=(0, 1))(jnp.asarray(REAL), jnp.asarray(FAKE)):
        np.testing.assert_array_equal(gradient, 0.0)


@pytest.mark.parametrize("name", list(PENALTIES))
def test_bfloat16_images_and_logits_give_float32_penalties(name):
    real, fake = jnp.asarray(REAL, jnp.bfloat16), jnp.asarray(FAKE, jnp.bfloat16)
    with jax.numpy_dtype_promotion("strict"):
        value = PENALTIES[name](lambda x: linear(x).astype(jnp.bfloat16), real, fake)
    assert value.dtype == jnp.float32
    squared = np.sum(WEIGHT**2)
    expected = squared if name in ("r1", "r2") else (np.sqrt(squared) - 1.0) ** 2
    np.testing.assert_allclose(value, expected, rtol=1e-5)  # the norms are summed in float32


@pytest.mark.parametrize("name", list(PENALTIES))
def test_values_under_jit_equal_eager_values(name):
    jitted = jax.jit(lambda real, fake: PENALTIES[name](quadratic, real, fake))
    np.testing.assert_allclose(jitted(REAL, FAKE), PENALTIES[name](quadratic), rtol=1e-5)


@pytest.mark.parametrize("name", list(PENALTIES))
def test_critics_that_do_not_return_one_logit_per_image_are_refused(name):
    with pytest.raises(ValueError, match="one logit per image"):
        PENALTIES[name](lambda x: jnp.mean(linear(x)))
    with pytest.raises(ValueError, match=r"\(4, 1\)"):
        PENALTIES[name](lambda x: linear(x)[:, None])
    with pytest.raises(ValueError, match=r"\(2,\) for 4 images"):
        PENALTIES[name](lambda x: linear(x)[:2])


def test_wgan_gp_refuses_unequal_batches():
    with pytest.raises(ValueError, match="one shape"):
        penalties.wgan_gp(linear, REAL, FAKE[:2], KEY)


def test_clip_weights_clips_every_leaf_and_nothing_within():
    params = {"a": jnp.array([-2.0, -0.01, 0.005, 3.0]), "b": [jnp.array([[0.02]], jnp.bfloat16)]}
    clipped = penalties.clip_weights(params, 0.01)
    np.testing.assert_allclose(clipped["a"], [-0.01, -0.01, 0.005, 0.01], rtol=1e-6)
    assert clipped["b"][0].dtype == jnp.bfloat16 and float(clipped["b"][0][0, 0]) == pytest.approx(0.01, rel=1e-2)
    assert jax.tree.structure(clipped) == jax.tree.structure(params)


@pytest.mark.parametrize("bound", [0.0, -0.1, float("nan")])
def test_clip_weights_refuses_an_empty_interval(bound):
    with pytest.raises(ValueError, match="bound"):
        penalties.clip_weights({"a": jnp.zeros(2)}, bound)
