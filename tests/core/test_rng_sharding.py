"""Streams are independent of each other; batches lie where they should."""

import jax
import numpy as np
import pytest

from jaxgan.config import ConfigError, MeshConfig
from jaxgan.core import rng, sharding


def test_streams_and_steps_give_distinct_keys():
    root = jax.random.key(0)
    keys = [rng.at_step(rng.stream(root, name), step) for name in ("init", "z", "augment") for step in range(3)]
    assert len({tuple(np.asarray(jax.random.key_data(k)).tolist()) for k in keys}) == 9


def test_a_stream_is_a_function_of_its_name_alone():
    a = rng.stream(jax.random.key(5), "z")
    rng.stream(jax.random.key(5), "other")
    assert jax.random.key_data(a).tolist() == jax.random.key_data(rng.stream(jax.random.key(5), "z")).tolist()


@pytest.mark.parametrize("count", [0, 1, 4])
def test_the_mesh_has_the_devices_asked_for(count):
    assert sharding.make_mesh(MeshConfig(data=count)).size == (count or 8)


def test_the_batch_axis_is_cut_and_the_step_axis_is_not():
    mesh = sharding.make_mesh(MeshConfig())
    rows = np.arange(2 * 16 * 3, dtype=np.uint8).reshape(2, 16, 3)
    batch = sharding.put_batch({"images": rows}, mesh)["images"]
    assert {shard.data.shape for shard in batch.addressable_shards} == {(2, 2, 3)}
    np.testing.assert_array_equal(batch, rows)


def test_several_processes_use_all_devices(monkeypatch):
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    with pytest.raises(ConfigError, match=r"mesh.data \(=4\) must be 0"):
        sharding.make_mesh(MeshConfig(data=4))


@pytest.mark.parametrize(("setting", "expected"), [("auto", True), ("always", True), ("never", False)])
def test_d_steps_are_unrolled_on_cpu(setting, expected):
    assert sharding.unroll_d_steps(setting) is expected
