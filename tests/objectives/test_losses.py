"""Adversarial losses: hand-computed values, PyTorch's forms, gradients, and behaviour far out."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from jaxgan.objectives import losses
from jaxgan.objectives.losses import ADVERSARIAL_LOSSES

NAMES = ("hinge", "non_saturating", "minimax", "least_squares", "wasserstein")
REAL = np.array([0.0, 2.0, -1.0], np.float32)
FAKE = np.array([0.0, -2.0, 3.0], np.float32)
LOG2 = np.log(2.0)

# softplus(x) = log(1 + e^x); the literals are log(1 + e^-2), log(1 + e^1), log(1 + e^3), log(1 + e^-3), log(1 + e^2).
SP_M2, SP_1, SP_3, SP_M3, SP_2 = 0.126928011, 1.313261688, 3.048587352, 0.048587352, 2.126928011
D_VALUES = {
    "hinge": [2.0, 0.0, 2.0 + 4.0],
    "non_saturating": [2 * LOG2, 2 * SP_M2, SP_1 + SP_3],
    "minimax": [2 * LOG2, 2 * SP_M2, SP_1 + SP_3],
    "least_squares": [0.5, 0.5 * (1 + 4), 0.5 * (4 + 9)],
    "wasserstein": [0.0, -4.0, 4.0],
}
G_VALUES = {
    "hinge": [0.0, 2.0, -3.0],
    "non_saturating": [LOG2, SP_2, SP_M3],
    "minimax": [-LOG2, -SP_M2, -SP_3],
    "least_squares": [0.5, 4.5, 2.0],
    "wasserstein": [0.0, 2.0, -3.0],
}


def test_the_registry_has_the_names_of_the_config():
    assert tuple(ADVERSARIAL_LOSSES) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_values_computed_by_hand(name):
    loss = ADVERSARIAL_LOSSES[name]
    np.testing.assert_allclose(loss.d(REAL, FAKE), D_VALUES[name], rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(loss.g(FAKE), G_VALUES[name], rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("name", NAMES)
def test_gradients_agree_with_finite_differences(name):
    loss = ADVERSARIAL_LOSSES[name]
    real, fake = jnp.array([0.3, -1.7, 2.5]), jnp.array([-0.4, 1.6, -2.2])  # away from the hinge's two kinks
    check_grads(loss.d, (real, fake), order=1, modes=["fwd", "rev"], atol=1e-2, rtol=1e-2)
    check_grads(loss.g, (fake,), order=1, modes=["fwd", "rev"], atol=1e-2, rtol=1e-2)


@pytest.mark.parametrize("name", NAMES)
def test_values_and_gradients_are_finite_far_out(name):
    loss = ADVERSARIAL_LOSSES[name]
    far = jnp.array([1e4, -1e4, 1e4, -1e4])
    other = jnp.array([1e4, 1e4, -1e4, -1e4])
    gradients = jax.grad(lambda r, f: jnp.sum(loss.d(r, f)), argnums=(0, 1))(far, other)
    results = (loss.d(far, other), loss.g(far), *gradients, jax.grad(lambda f: jnp.sum(loss.g(f)))(far))
    assert all(np.isfinite(result).all() for result in results)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_half_precision_logits_are_cast_before_the_arithmetic(name, dtype):
    loss = ADVERSARIAL_LOSSES[name]
    real, fake = jnp.array([0.3, 100.0, -7.7], dtype), jnp.array([1.1, -300.0, 5.3], dtype)
    d, g = loss.d(real, fake), loss.g(fake)
    assert d.dtype == g.dtype == jnp.float32
    # Casting later would round the sums and squares to 8 or 11 bits.
    np.testing.assert_array_equal(d, loss.d(real.astype(jnp.float32), fake.astype(jnp.float32)))
    np.testing.assert_array_equal(g, loss.g(fake.astype(jnp.float32)))


@pytest.mark.parametrize("name", NAMES)
def test_one_image_does_not_influence_another(name):
    d, g = ADVERSARIAL_LOSSES[name]
    order = np.array([2, 0, 1])
    np.testing.assert_array_equal(d(REAL, FAKE)[order], d(REAL[order], FAKE[order]))
    np.testing.assert_array_equal(g(FAKE)[order], g(FAKE[order]))


@pytest.mark.parametrize("name", NAMES)
def test_strict_dtype_promotion_is_respected(name):
    loss = ADVERSARIAL_LOSSES[name]
    with jax.numpy_dtype_promotion("strict"):
        loss.d(jnp.asarray(REAL, jnp.bfloat16), jnp.asarray(FAKE, jnp.bfloat16))
        loss.g(jnp.asarray(FAKE, jnp.bfloat16))


@pytest.mark.parametrize("name", NAMES)
def test_d_and_g_pull_the_fake_logits_apart(name):
    loss = ADVERSARIAL_LOSSES[name]
    real, fake = jnp.array([0.5]), jnp.array([0.25])  # undecided logits: every loss has a slope here
    d_real, d_fake = jax.grad(lambda r, f: jnp.sum(loss.d(r, f)), argnums=(0, 1))(real, fake)
    g_fake = jax.grad(lambda f: jnp.sum(loss.g(f)))(fake)
    assert d_real < 0 < d_fake and g_fake < 0


def test_hinge_has_no_gradient_beyond_its_margins():
    grad = jax.grad(lambda r, f: jnp.sum(losses.hinge_d(r, f)), argnums=(0, 1))
    real, fake = grad(jnp.array([0.99, 1.0, 1.01]), jnp.array([-0.99, -1.0, -1.01]))
    np.testing.assert_array_equal(real, [-1.0, 0.0, 0.0])
    np.testing.assert_array_equal(fake, [1.0, 0.0, 0.0])


def test_logistic_losses_are_symmetric_and_their_g_sides_differ_by_the_logit():
    x = jnp.linspace(-6.0, 6.0, 13)
    np.testing.assert_allclose(losses.non_saturating_d(x, -x), 2 * losses.non_saturating_g(x), rtol=1e-6)
    # -(-log p) - log(1 - p) is the logit of p.
    np.testing.assert_allclose(-losses.non_saturating_g(x) - losses.minimax_g(x), x, atol=1e-5)


def test_minimax_gradient_dies_on_rejected_fakes_where_non_saturating_lives():
    rejected = jnp.array(-20.0)
    assert abs(jax.grad(losses.minimax_g)(rejected)) < 1e-8
    np.testing.assert_allclose(jax.grad(losses.non_saturating_g)(rejected), -1.0, rtol=1e-6)


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.25])
def test_logistic_losses_equal_torch_cross_entropies(smoothing):
    torch = pytest.importorskip("torch")
    bce = torch.nn.functional.binary_cross_entropy_with_logits
    rng = np.random.default_rng(0)
    real, fake = rng.normal(0, 4, (2, 32)).astype(np.float32)
    real_t, fake_t = torch.tensor(real), torch.tensor(fake)
    d = bce(real_t, torch.full_like(real_t, 1.0 - smoothing), reduction="none")
    d = d + bce(fake_t, torch.zeros_like(fake_t), reduction="none")
    np.testing.assert_allclose(losses.non_saturating_d(real, fake, label_smoothing=smoothing), d, rtol=1e-5, atol=1e-6)
    g = bce(fake_t, torch.ones_like(fake_t), reduction="none")
    np.testing.assert_allclose(losses.non_saturating_g(fake), g, rtol=1e-5, atol=1e-6)
    saturating = -bce(fake_t, torch.zeros_like(fake_t), reduction="none")
    np.testing.assert_allclose(losses.minimax_g(fake), saturating, rtol=1e-5, atol=1e-6)


def test_least_squares_and_hinge_equal_torch():
    torch = pytest.importorskip("torch")
    functional = torch.nn.functional
    rng = np.random.default_rng(1)
    real, fake = rng.normal(0, 4, (2, 32)).astype(np.float32)
    real_t, fake_t = torch.tensor(real), torch.tensor(fake)
    zeros, ones = torch.zeros_like(fake_t), torch.ones_like(fake_t)
    mse = (
        functional.mse_loss(real_t, ones, reduction="none") + functional.mse_loss(fake_t, zeros, reduction="none")
    ) / 2
    np.testing.assert_allclose(losses.least_squares_d(real, fake), mse, rtol=1e-5)
    # Hinge loss against +1 / -1 targets: torch's own implementation of the SVM margin.
    margin = functional.multi_margin_loss  # of two scores (x, 0): max(0, 1 - x + 0) / 2
    real_scores = torch.stack([real_t, torch.zeros_like(real_t)], dim=1)
    fake_scores = torch.stack([-fake_t, zeros], dim=1)
    first = torch.zeros(32, dtype=torch.long)
    d = 2 * (margin(real_scores, first, reduction="none") + margin(fake_scores, first, reduction="none"))
    np.testing.assert_allclose(losses.hinge_d(real, fake), d, rtol=1e-5, atol=1e-6)


def test_label_smoothing_has_its_minimum_at_the_smoothed_probability():
    slope = jax.grad(lambda r: losses.non_saturating_d(r, jnp.array(0.0), label_smoothing=0.1))
    np.testing.assert_allclose(slope(jnp.log(jnp.array(9.0))), 0.0, atol=1e-6)  # sigmoid(log 9) = 0.9


@pytest.mark.parametrize("smoothing", [-0.1, 1.0])
def test_impossible_label_smoothing_is_refused(smoothing):
    with pytest.raises(ValueError, match="label_smoothing"):
        losses.non_saturating_d(REAL, FAKE, label_smoothing=smoothing)


@pytest.mark.parametrize("name", NAMES)
def test_logits_that_would_broadcast_are_refused(name):
    with pytest.raises(ValueError, match=r"\(3,\).*\(3, 1\).*one shape"):
        ADVERSARIAL_LOSSES[name].d(REAL, FAKE[:, None])
