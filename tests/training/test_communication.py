"""What travels between devices in a compiled step: gradients and statistics, and no activations."""

import dataclasses

import jax
import pytest

from jaxgan.config import Config, DataConfig, MeshConfig, MethodConfig, ModelConfig
from jaxgan.core.communication import collectives
from jaxgan.training import setup as setup_lib
from tests import tiny_run

SAGAN = dataclasses.replace(
    tiny_run.CONFIG,
    batch_size=16,
    num_d_steps=2,
    model=dataclasses.replace(tiny_run.CONFIG.model, d_spectral_norm="all", attention_resolutions=(4,)),
)
DCGAN = Config(
    batch_size=16,
    data=DataConfig(resolution=8, channels=1),
    model=ModelConfig(
        name="dcgan", conditional=False, latent_dim=4, g_channels=8, d_channels=8, g_spectral_norm="none",
        d_spectral_norm="none",
    ),
)  # fmt: skip
PERCEPTRON = Config(
    batch_size=16,
    data=DataConfig(resolution=8, channels=1),
    model=ModelConfig(name="mlp", conditional=False, latent_dim=8, g_hidden=(32,), d_hidden=(32,)),
)
CYCLEGAN = dataclasses.replace(
    tiny_run.TRANSLATING,
    batch_size=8,
    method=MethodConfig(name="cyclegan", loss="least_squares", pool_size=4),
)
DIVIDED = MeshConfig(data=2, fsdp=4, fsdp_min_size=64)


def compiled(config: Config, data):
    setup = setup_lib.prepare(config, data)
    sizes = {name: sum(x.nbytes for x in jax.tree.leaves(net.params)) for name, net in setup.state.nets.items()}
    return setup, collectives(setup.lower().compile().as_text()), sizes


def num_bytes(found, kind):
    return sum(one.count * one.num_bytes for one in found if one.kind == kind)


def assert_only_gradients_and_statistics(found, gradients: int, others: int):
    assert {one.kind for one in found} == {"all-reduce"}
    assert all(one.count_is_known and one.group_size == 8 for one in found)
    # Each gradient once; what else is summed are losses, norms of gradients and statistics, a few numbers per channel.
    assert gradients <= num_bytes(found, "all-reduce") <= gradients + others


@pytest.mark.parametrize("parts", [1, 2])
def test_a_perceptron_sends_each_gradient_once_per_microbatch(parts):
    _, found, sizes = compiled(dataclasses.replace(PERCEPTRON, num_microbatches=parts), tiny_run.DATA)
    assert_only_gradients_and_statistics(found, parts * sizes["d"] + sizes["g"], 100)


def test_a_divided_perceptron_gathers_parameters_alone():
    setup, found, sizes = compiled(dataclasses.replace(PERCEPTRON, mesh=DIVIDED), tiny_run.DATA)
    assert_parameters_alone_are_gathered(setup, found)
    assert num_bytes(found, "all-reduce") + num_bytes(found, "reduce-scatter") <= sizes["d"] + sizes["g"] + 100


def assert_parameters_alone_are_gathered(setup, found):
    divided = {
        x.shape
        for net in setup.state.nets.values()
        for x in jax.tree.leaves(net.params)
        if not x.sharding.is_fully_replicated
    }
    gathered = [one for one in found if one.kind == "all-gather"]
    assert {shape for one in gathered for _, shape in one.shapes} == divided
    assert all(one.group_size == 4 for one in gathered)
    assert {one.kind for one in found} <= {"all-gather", "all-reduce", "reduce-scatter"}


@pytest.mark.slow
def test_sagan_sends_gradients_and_statistics_alone():
    _, found, sizes = compiled(SAGAN, tiny_run.DATA)
    # The G phase is divided as the D phases are: its gradients are summed too. On a CPU a convolution with resampling
    # has 4x4 instead of 3x3 taps (`conv_resample.py`): one in G, one in D.
    taps = (16 - 9) * 8 * 8 * 4
    assert_only_gradients_and_statistics(found, 2 * (sizes["d"] + taps) + sizes["g"] + taps, 1_500)


@pytest.mark.slow
def test_a_divided_sagan_gathers_parameters_alone():
    setup, found, _ = compiled(dataclasses.replace(SAGAN, mesh=DIVIDED), tiny_run.DATA)
    assert_parameters_alone_are_gathered(setup, found)


@pytest.mark.slow
def test_dcgan_sends_gradients_and_statistics_alone():
    _, found, sizes = compiled(DCGAN, tiny_run.DATA)
    assert_only_gradients_and_statistics(found, sizes["d"] + sizes["g"], 1_500)


@pytest.mark.slow
def test_batch_norm_by_device_needs_no_communication():
    def reductions(groups):
        config = dataclasses.replace(
            DCGAN, model=dataclasses.replace(DCGAN.model, bn_groups=groups, d_batch_norm="none")
        )
        _, found, _ = compiled(config, tiny_run.DATA)
        return sum(one.count for one in found)

    # What is left: the gradients of D, those of G, and sums for the running statistics.
    assert reductions(8) <= 4 < reductions(1)


@pytest.mark.slow
def test_cyclegan_exchanges_its_translations_and_gathers_nothing():
    setup, found, sizes = compiled(CYCLEGAN, tiny_run.DOMAINS)
    pools = setup.state.aux
    assert all(not pool.images.sharding.is_fully_replicated for pool in pools.values())
    assert {one.kind for one in found} == {"all-reduce", "all-to-all"}
    # To the pools and back, per domain: of a batch of 8 one image each.
    assert num_bytes(found, "all-to-all") == 4 * 8 * 12 * 3 * 4
    # A generator is called three times in its phase (translation, cycle, identity), and each call's part is summed.
    gradients = sizes["d_a"] + sizes["d_b"] + 3 * (sizes["g_ab"] + sizes["g_ba"])
    assert gradients <= num_bytes(found, "all-reduce") <= gradients + 1_500
