"""A call on several devices: each takes its part of the batch, where the batch has such parts."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxgan.config import MeshConfig
from jaxgan.core import network as network_lib
from jaxgan.core import sharding
from jaxgan.core.parallel import parallel


class Scale(nnx.Module):
    def __init__(self, rngs):
        self.w = nnx.Param(jnp.asarray([1.0, 2.0, 3.0]))

    def __call__(self, x, factor, *, train):
        return jnp.sin(x) * self.w[...][None] * factor


@pytest.mark.parametrize(("batch_size", "rows", "placed"), [(16, 2, 2), (6, 6, 1)])
def test_a_batch_of_a_multiple_is_divided_and_any_other_input_is_left_alone(batch_size, rows, placed):
    mesh = sharding.make_mesh(MeshConfig(fsdp=2))
    network, params, stats = network_lib.create(Scale, jax.random.key(0))
    inputs = np.arange(batch_size * 3, dtype=np.float32).reshape(batch_size, 3), np.float32(2)
    call = jax.jit(lambda params, *inputs: parallel({"g": network}, mesh)["g"](params, stats, *inputs, train=True)[0])
    on_mesh = jax.device_put((params, *inputs), sharding.replicated(mesh))
    # XLA would pad a batch that it is told to divide unevenly: the weight's place is told, that batch's is not.
    assert str(jax.make_jaxpr(call)(*on_mesh)).count("sharding_constraint") == placed
    out = call(*on_mesh)
    np.testing.assert_allclose(out, np.sin(inputs[0]) * [[2.0, 4.0, 6.0]], rtol=1e-5)
    assert {shard.data.shape for shard in out.addressable_shards} == {(rows, 3)}
