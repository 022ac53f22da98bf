"""State divided over devices: the same training in less memory, saved and restored onto any mesh."""

import dataclasses

import jax
import numpy as np
import pytest

from jaxgan.config import CheckpointConfig, Config, MeshConfig, ModelConfig, OptimConfig
from jaxgan.core import checksum, sharding
from jaxgan.core.checkpoint import Checkpointer
from jaxgan.generation.sampler import fixed_inputs, make_sampler, sample_grids
from jaxgan.training import setup as setup_lib
from tests import tiny_run

MOMENTUM = OptimConfig(name="sgd", lr=1e-2, b1=0.5)  # Adam would magnify the rounding of other sums
PERCEPTRON = dataclasses.replace(
    tiny_run.PERCEPTRON,
    batch_size=16,
    model=ModelConfig(name="mlp", conditional=False, latent_dim=8, g_hidden=(64, 64), d_hidden=(64, 64)),
    ema=tiny_run.CONFIG.ema,
    g_optim=MOMENTUM,
    d_optim=MOMENTUM,
)
SAGAN = dataclasses.replace(
    tiny_run.CONFIG,
    batch_size=16,
    num_d_steps=2,
    model=dataclasses.replace(tiny_run.CONFIG.model, d_spectral_norm="all", attention_resolutions=(4,)),
    g_optim=MOMENTUM,
    d_optim=MOMENTUM,
)
WHOLE, DIVIDED = MeshConfig(), MeshConfig(data=2, fsdp=4, fsdp_min_size=64)


def prepared(config: Config, mesh: MeshConfig):
    config = dataclasses.replace(config, mesh=mesh)
    setup = setup_lib.prepare(config, tiny_run.DATA)
    return setup, setup.lower().compile()


def trained(config, setup, step, state, first=0, last=3):
    metrics = np.zeros(0)
    for number in range(first, last):
        rng = np.random.default_rng(number)
        shapes = setup_lib.batch_shape(config, tiny_run.DATA)
        batch = {
            name: rng.integers(0, 256 if like.dtype == np.uint8 else 5, like.shape, like.dtype)
            for name, like in shapes.items()
        }
        state, metrics = step(state, sharding.put_batch(batch, setup.mesh), setup.root_key)
    return state, metrics


def assert_close(a, b):
    for name, x, y in zip(checksum.paths(a), jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_allclose(np.asarray(x), np.asarray(y), rtol=1e-5, atol=1e-5, err_msg=name)


def is_divided(x):
    return not x.sharding.is_fully_replicated


@pytest.fixture(scope="module")
def whole():
    setup, step = prepared(PERCEPTRON, WHOLE)
    return setup, step, *trained(PERCEPTRON, setup, step, setup.state)


@pytest.fixture(scope="module")
def divided():
    setup, step = prepared(PERCEPTRON, DIVIDED)
    first = jax.tree.map(lambda x: x.copy(), setup.state)
    return setup, step, *trained(PERCEPTRON, setup, step, setup.state), first


def test_a_divided_state_trains_as_a_whole_one(whole, divided):
    assert_close(divided[2], whole[2])
    np.testing.assert_allclose(divided[3], whole[3], rtol=1e-5, atol=1e-5)


def test_parameters_momenta_and_averages_are_divided_before_and_after(divided):
    setup, _, after, _, before = divided
    for state in (before, after):
        nets, ema = state.nets["g"], state.ema["g"]
        kernels = [
            [x for x in jax.tree.leaves(part) if x.shape == (64, 64)] for part in (nets.params, nets.opt_state, ema)
        ]
        for kernel in sum(kernels, []):
            assert kernel.sharding.spec == jax.sharding.PartitionSpec(None, "fsdp")
            assert kernel.addressable_shards[0].data.shape == (64, 16)
        assert all(kernels)
        assert not any(is_divided(x) for x in jax.tree.leaves(state) if x.size < 64)


def test_dividing_takes_less_memory_on_each_device(whole, divided):
    memory = [setup[1].memory_analysis() for setup in (whole, divided)]
    used = [one.argument_size_in_bytes + one.temp_size_in_bytes for one in memory]
    assert used[1] < 0.8 * used[0]
    # Of the state all but biases and the like is divided by four.
    assert memory[1].argument_size_in_bytes < 0.35 * memory[0].argument_size_in_bytes


@pytest.mark.parametrize("back", [False, True])
def test_a_run_goes_on_on_another_mesh(tmp_path, whole, divided, back):
    (old, new) = (divided, whole) if back else (whole, divided)
    saved = old[2]
    checkpointer = Checkpointer(tmp_path, CheckpointConfig())
    checkpointer.save(3, saved, {})
    checkpointer.wait()
    like = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding), new[2])
    state = checkpointer.restore(3, like)
    checkpointer.close()
    assert jax.tree.map(lambda x: x.sharding, state) == jax.tree.map(lambda x: x.sharding, new[2])
    for a, b in zip(jax.tree.leaves(state), jax.tree.leaves(saved), strict=True):
        np.testing.assert_array_equal(a, b)  # to the last bit
    kept = jax.tree.map(lambda x: x.copy(), saved)
    went_on = trained(PERCEPTRON, new[0], new[1], state, 3, 4)[0]
    stayed = trained(PERCEPTRON, old[0], old[1], kept, 3, 4)[0]
    assert_close(went_on, stayed)


def test_checksums_do_not_depend_on_the_mesh(whole, divided):
    placed = jax.tree.map(lambda x, y: jax.device_put(x, y.sharding), whole[2], divided[2])
    assert any(is_divided(x) for x in jax.tree.leaves(placed))
    assert checksum.compute(placed) == checksum.compute(whole[2])


def test_samples_of_a_divided_state_are_whole(divided):
    setup, _, state, _, _ = divided
    sampler = make_sampler(setup.method, setup.networks, sharding=sharding.replicated(setup.mesh))
    inputs = jax.device_put(fixed_inputs(setup.method, 0, 2, 4, {}), sharding.replicated(setup.mesh))
    one = jax.device_put(jax.device_get(inputs), jax.devices()[0])
    nets, ema = jax.device_put(jax.device_get((state.nets, state.ema)), jax.devices()[0])
    with jax.transfer_guard("disallow"):
        grids = sample_grids(sampler, state.nets, state.ema, inputs)
    alone = make_sampler(setup.method, setup.networks, sharding=jax.sharding.SingleDeviceSharding(jax.devices()[0]))
    for name, images in sample_grids(alone, nets, ema, one).items():
        np.testing.assert_allclose(grids[name], images, atol=1e-5)


@pytest.mark.slow
def test_sagan_on_every_mesh_of_eight_devices():
    setup, step = prepared(SAGAN, WHOLE)
    expected, metrics = trained(SAGAN, setup, step, setup.state)
    for fsdp in (2, 4, 8):
        setup, step = prepared(SAGAN, MeshConfig(fsdp=fsdp, fsdp_min_size=64))
        state, found = trained(SAGAN, setup, step, setup.state)
        assert any(is_divided(x) for x in jax.tree.leaves(state.nets))
        assert_close(state, expected)
        np.testing.assert_allclose(found, metrics, rtol=1e-5, atol=1e-5)
