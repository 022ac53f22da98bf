"""The mesh fits the devices or says why not; each array lies where its rule puts it."""

import types
from typing import Any

import jax
import numpy as np
import pytest
from jax.sharding import PartitionSpec as P

from jaxgan import target
from jaxgan.config import ConfigError, MeshConfig
from jaxgan.core import sharding
from jaxgan.core.parallel import parallel


@pytest.mark.parametrize(
    ("config", "shape"),
    [
        (MeshConfig(), (8, 1)),
        (MeshConfig(fsdp=4), (2, 4)),
        (MeshConfig(data=2, fsdp=4), (2, 4)),
        (MeshConfig(fsdp=8), (1, 8)),
        (MeshConfig(data=1, fsdp=2), (1, 2)),
        (MeshConfig(data=3), (3, 1)),
    ],
)
def test_zero_takes_all_devices_that_are_left(config, shape):
    mesh = sharding.make_mesh(config)
    assert (mesh.shape["data"], mesh.shape["fsdp"]) == shape
    assert list(mesh.devices.flat) == jax.devices()[: shape[0] * shape[1]]


@pytest.mark.parametrize(
    ("config", "processes", "message"),
    [
        (MeshConfig(fsdp=3), 1, r"mesh\.fsdp \(=3\) must divide the number of devices \(=8\); try one of 1, 2, 4, 8\."),
        (MeshConfig(fsdp=16), 1, r"mesh\.fsdp \(=16\) must divide"),
        (MeshConfig(data=4, fsdp=4), 1, r"mesh\.data \(=4\) times config\.mesh\.fsdp \(=4\) must lie between 1 and"),
        (MeshConfig(data=9), 1, r"mesh\.data \(=9\) times .* set config\.mesh\.data=0"),
        (MeshConfig(data=2, fsdp=2), 2, r"mesh\.data \(=2\) must be 0 or 4 .*, so that all 8 devices take part"),
    ],
)
def test_a_mesh_that_does_not_fit_is_explained(config, processes, message):
    with pytest.raises(ConfigError, match=message):
        config.shape(8, processes)


def test_rows_of_a_batch_follow_the_processes():
    # On a TPU the numbers of a process's devices are not consecutive.
    devices = [types.SimpleNamespace(id=i, process_index=p) for i, p in enumerate([0, 0, 1, 1, 0, 0, 1, 1])]
    sorted_ids = []

    def grid(array, axes, axis_types):
        sorted_ids.extend(device.id for device in array.flat)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sharding, "Mesh", grid)
        sharding.make_mesh(MeshConfig(fsdp=2), devices)
    assert sorted_ids == [0, 1, 4, 5, 2, 3, 6, 7]


def test_absent_devices_of_several_processes_are_all_used():
    devices = [types.SimpleNamespace(id=i, process_index=i // 4) for i in range(8)]
    with pytest.raises(ConfigError, match="must be 0 or 8"):
        sharding.make_mesh(MeshConfig(data=4), devices)


def test_the_batch_is_divided_over_both_axes():
    mesh = sharding.make_mesh(MeshConfig(data=2, fsdp=4))
    rows = np.arange(2 * 16 * 3, dtype=np.uint8).reshape(2, 16, 3)
    batch = sharding.put_batch({"images": rows}, mesh)["images"]
    assert {shard.data.shape for shard in batch.addressable_shards} == {(2, 2, 3)}
    np.testing.assert_array_equal(batch.addressable_shards[0].data, rows[:, :2])


@pytest.mark.parametrize(
    ("shape", "spec"),
    [
        ((3, 3, 8, 16), P(None, None, None, "fsdp")),  # the largest axis
        ((16, 8), P("fsdp")),
        ((3, 3, 12, 12), P(None, None, None, "fsdp")),  # of equal ones the last
        ((4, 4, 9, 10), P(None, "fsdp")),  # 10 is larger and no multiple of 4
        ((5, 7), P()),  # none is a multiple
        ((4, 4), P()),  # too small
        ((4, 5), P("fsdp")),  # just large enough
        ((), P()),
        ((0, 64), P()),
    ],
)
def test_the_largest_fitting_axis_of_a_large_array_is_divided(shape, spec):
    mesh = sharding.make_mesh(MeshConfig(fsdp=4))
    placed = sharding.state_sharding(mesh, {"w": jax.ShapeDtypeStruct(shape, np.float32)}, min_size=20)
    assert placed["w"].spec == spec and placed["w"].mesh == mesh


def test_an_axis_of_one_device_divides_nothing():
    mesh = sharding.make_mesh(MeshConfig())
    placed = sharding.state_sharding(mesh, [jax.ShapeDtypeStruct((64, 64), np.float32)], min_size=1)
    assert placed[0].is_fully_replicated and placed[0].spec == P()


def test_items_and_bands_of_rows_lie_in_the_order_of_the_mesh():
    mesh = sharding.make_mesh(MeshConfig(fsdp=4))
    items = np.arange(8 * 8).reshape(8, 8, 1, 1)
    for place, axis in ((sharding.items_sharding, 0), (sharding.rows_sharding, 1)):
        placed = jax.device_put(items, place(mesh))
        by_device = {shard.device: np.asarray(shard.data) for shard in placed.addressable_shards}
        np.testing.assert_array_equal(np.concatenate([by_device[d] for d in mesh.devices.flat], axis), items)
        assert {part.shape[axis] for part in by_device.values()} == {1}


def test_d_steps_are_unrolled_when_told_or_on_a_cpu():
    assert [sharding.unroll_d_steps(setting) for setting in ("always", "auto", "never")] == [True, True, False]
    with target.compiling_for("gpu"):
        assert [sharding.unroll_d_steps(setting) for setting in ("always", "auto", "never")] == [True, False, False]


def test_networks_on_one_device_are_called_as_they_are():
    networks: dict[str, Any] = {"g": object()}
    assert parallel(networks, sharding.make_mesh(MeshConfig(data=1))) is networks


def test_the_host_holds_arrays_before_they_are_divided():
    device = sharding.host_device()
    assert device is not None and device.platform == "cpu"
