"""Rematerialised blocks: the same values, gradients and statistics, from fewer arrays kept for the backward pass."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgan.core import network as network_lib
from jaxgan.models.cyclegan import ResnetGenerator
from jaxgan.models.resnet import ResNetDiscriminator, ResNetGenerator

LABELS = jnp.arange(4) % 3
IMAGES = jax.random.normal(jax.random.key(0), (4, 8, 8, 3))
RESNET = {"resolution": (8, 8), "widths": (8, 8), "num_classes": 3, "attention_resolutions": (4,)}
CASES = {
    "g": (ResNetGenerator, RESNET | {"latent_dim": 3}, (jax.random.normal(jax.random.key(1), (4, 3)), LABELS)),
    "d": (ResNetDiscriminator, RESNET, (IMAGES, LABELS)),
    "cyclegan": (ResnetGenerator, {"channels": 2, "num_res_blocks": 6}, (IMAGES,)),
}


def differentiate(case, remat):
    """Returns (outputs, gradients, stats) and the bytes that the backward pass needs from the forward pass."""
    cls, options, inputs = CASES[case]
    network, params, stats = network_lib.create(lambda rngs: cls(**options, remat=remat, rngs=rngs), jax.random.key(2))

    def loss(params):
        outputs, new = network(params, stats, *inputs, train=True)
        return jnp.sum(jnp.sin(outputs)), (outputs, new)

    kept = jax.eval_shape(lambda params: jax.vjp(loss, params, has_aux=True)[1], params)
    gradients, (outputs, new) = jax.jit(jax.grad(loss, has_aux=True))(params)
    return (outputs, gradients, new), sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(kept))


@pytest.mark.parametrize("case", CASES)
def test_only_memory_changes(case):
    plain, kept = differentiate(case, False)
    again, kept_again = differentiate(case, True)
    assert kept_again < 0.8 * kept
    for whole, parts in zip(plain, again, strict=True):
        # Some gradients are zero but for rounding, so the yardstick is the largest of all.
        largest = max(float(jnp.abs(leaf).max()) for leaf in jax.tree.leaves(whole)) if jax.tree.leaves(whole) else 0.0
        jax.tree.map(lambda a, b, atol=1e-5 * largest: np.testing.assert_allclose(b, a, atol=atol), whole, parts)
