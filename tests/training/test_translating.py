"""What the trainer promises of every method, kept by CycleGAN: resumption with its pools, averages, bf16, devices.

The networks are single pixels' affine functions, which compile in no time; those of the recipes are in test_recipes.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from jaxgan.config import (
    CheckpointConfig,
    Config,
    DataConfig,
    LogConfig,
    MeshConfig,
    MethodConfig,
    ModelConfig,
    SampleConfig,
)
from jaxgan.core import sharding
from jaxgan.data.spec import DataSpec
from jaxgan.methods.base import initial_state
from jaxgan.methods.cyclegan import CycleGAN
from jaxgan.methods.registry import build_method
from jaxgan.training import setup as setup_lib
from jaxgan.training.loop import train
from jaxgan.training.step import make_step
from tests.two_domains import write_domains


class Affine(nnx.Module):
    def __init__(self, rngs):
        self.scale, self.shift = nnx.Param(jax.random.normal(rngs.params(), (3,))), nnx.Param(jnp.zeros(3))

    def __call__(self, images):
        return images * self.scale[...][None, None, None, :] + self.shift[...][None, None, None, :]


METHOD = CycleGAN(
    generator=Affine,
    discriminator=Affine,
    image_shape=(12, 16, 3),
    g_tx=optax.adam(1e-2),
    d_tx=optax.adam(1e-2),
    pool_size=3,
    ema_decay=0.7,
)
CONFIG = Config(
    total_steps=6,
    batch_size=2,
    data=DataConfig(resolution=12, width=16, crop="random:14", flip=True),
    checkpoint=CheckpointConfig(every_steps=3, keep=9),
    sample=SampleConfig(every_steps=6, rows=2),
    log=LogConfig(every_steps=2, epochs=True),
    mesh=MeshConfig(data=1),
)


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    """Domains of different size, so that their epochs end at different steps."""
    folder = write_domains(tmp_path_factory.mktemp("domains"), {"trainA": 5, "trainB": 7}, size=(18, 24))
    return dataclasses.replace(CONFIG, data=dataclasses.replace(CONFIG.data, source=f"unpaired:{folder}"))


def same(a, b) -> bool:
    return jax.tree.structure(a) == jax.tree.structure(b) and all(
        np.array_equal(x, y) for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    )


def test_stopping_and_going_on_changes_no_bit(config, tmp_path):
    straight = train(config, tmp_path / "straight", method=METHOD)
    train(dataclasses.replace(config, total_steps=3), tmp_path / "resumed", method=METHOD)
    resumed = train(config, tmp_path / "resumed", method=METHOD)
    assert same(resumed, straight)
    assert int(straight.aux["a"].count) == 3 and float(jnp.abs(straight.aux["b"].images).sum()) > 0
    assert set(straight.ema) == {"g_ab", "g_ba"} and not same(straight.ema["g_ab"].params, straight.nets["g_ab"].params)
    grids = [(tmp_path / run / "samples" / "step_00000006.png").read_bytes() for run in ("straight", "resumed")]
    assert grids[0] == grids[1]


def two_steps(devices):
    rng = np.random.default_rng(0)
    mesh = sharding.make_mesh(MeshConfig(data=devices))
    replicated, batched = sharding.replicated(mesh), sharding.batch_sharding(mesh)
    state, networks = initial_state(METHOD, seed=0, sharding=replicated)
    step = jax.jit(
        make_step(METHOD, networks, scaling="symmetric", unroll=True),
        in_shardings=(replicated, batched, replicated),
        out_shardings=replicated,
    )
    metrics = {}
    for _ in range(2):
        batch = {domain: rng.integers(0, 256, (1, 8, 12, 16, 3), np.uint8) for domain in ("a", "b")}
        state, metrics = step(state, sharding.put_batch(batch, mesh), jax.random.key(1))
    return jax.device_get((state, metrics))


def test_one_and_eight_devices_agree():
    one, eight = (jax.tree.leaves(two_steps(devices)) for devices in (1, 8))
    for a, b in zip(one, eight, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name, model", [("cyclegan", "cyclegan"), ("pix2pix", "unet")])
def test_under_bfloat16_state_and_metrics_stay_float32(name, model):
    """By the shapes alone."""
    config = Config(
        batch_size=2,
        dtype="bfloat16",
        data=DataConfig(resolution=16, paired=name == "pix2pix"),
        model=ModelConfig(name=model, g_channels=4, d_channels=4, d_num_layers=1),
        method=MethodConfig(name=name),
    )
    data = DataSpec(16, 16, 3, 0, (), 8, "", num_images_b=8)
    method = build_method(config, data)
    mesh = sharding.make_mesh(MeshConfig(data=1))
    state, networks = initial_state(method, seed=0, sharding=sharding.replicated(mesh))
    step = make_step(method, networks, scaling="symmetric", unroll=True)
    after, metrics = jax.eval_shape(step, state, setup_lib.batch_shape(config, data), jax.random.key(0))
    assert jax.tree.map(lambda x: (x.shape, x.dtype), after) == jax.tree.map(lambda x: (x.shape, x.dtype), state)
    assert {value.dtype for value in metrics.values()} == {np.dtype("float32")}
    computed = str(jax.make_jaxpr(step)(state, setup_lib.batch_shape(config, data), jax.random.key(0)))
    assert "bf16[" in computed
