"""The auxiliary classifier's cross-entropy, against PyTorch and by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgan.objectives import auxiliary

RNG = np.random.default_rng(0)
LOGITS = RNG.normal(size=(6, 4)).astype(np.float32) * 5
LABELS = np.array([3, 0, 1, 2, 2, 0], np.int32)


def test_even_logits_cost_the_logarithm_of_the_number_of_classes():
    np.testing.assert_allclose(auxiliary.classification(jnp.zeros((2, 5)), jnp.array([0, 4])), np.log(5), rtol=1e-6)


def test_values_and_gradients_are_those_of_pytorch():
    torch = pytest.importorskip("torch")
    logits = torch.tensor(LOGITS, requires_grad=True)
    expected = torch.nn.functional.cross_entropy(logits, torch.tensor(LABELS).long(), reduction="none")
    expected.sum().backward()
    np.testing.assert_allclose(auxiliary.classification(LOGITS, LABELS), expected.detach(), rtol=1e-5, atol=1e-6)
    gradient = jax.grad(lambda x: jnp.sum(auxiliary.classification(x, LABELS)))(jnp.asarray(LOGITS))
    np.testing.assert_allclose(gradient, logits.grad, rtol=1e-4, atol=1e-6)


def test_large_logits_stay_finite_and_half_precision_is_cast():
    far = auxiliary.classification(jnp.array([[1e4, -1e4]], jnp.bfloat16), jnp.array([1]))
    assert far.dtype == jnp.float32 and np.isfinite(far).all()


@pytest.mark.parametrize("label", [-1, 4])
def test_a_label_outside_is_not_a_class(label):
    assert np.isnan(auxiliary.classification(LOGITS[:1], jnp.array([label])))


def test_shapes_that_would_broadcast_are_refused():
    with pytest.raises(ValueError, match=r"class_logits \(shape \(6, 4\)\).*labels \(shape \(6, 1\)\)"):
        auxiliary.classification(LOGITS, LABELS[:, None])
    with pytest.raises(ValueError, match=r"must be \(B, num_classes\)"):
        auxiliary.classification(LOGITS[0], LABELS)
