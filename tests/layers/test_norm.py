"""Batch normalisation against PyTorch, class-conditional against the formula, and both over a sharded batch."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from jaxgan.layers.norm import BatchNorm, ConditionalBatchNorm


def random(seed, shape):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def test_equals_torch_over_training_and_evaluation():
    torch = pytest.importorskip("torch")
    ours = BatchNorm(3, decay=0.8, eps=1e-3, rngs=nnx.Rngs(0))
    theirs = torch.nn.BatchNorm2d(3, eps=1e-3, momentum=0.2)
    scale, bias = random(1, 3), random(2, 3)
    ours.scale[...], ours.bias[...] = jnp.asarray(scale), jnp.asarray(bias)
    with torch.no_grad():
        theirs.weight.copy_(torch.tensor(scale))
        theirs.bias.copy_(torch.tensor(bias))
    for step in range(3):
        x = 2 * random(step, (2, 3, 2, 3)) + 5
        expected = theirs(torch.tensor(x.transpose(0, 3, 1, 2)))
        y = ours(jnp.asarray(x), train=True)
        np.testing.assert_allclose(y, expected.detach().numpy().transpose(0, 2, 3, 1), atol=2e-5)
        np.testing.assert_allclose(ours.mean[...], theirs.running_mean, rtol=1e-5)
        np.testing.assert_allclose(ours.var[...], theirs.running_var, rtol=1e-5)
    theirs.eval()
    expected = theirs(torch.tensor(x.transpose(0, 3, 1, 2)))
    before = np.asarray(ours.mean[...]), np.asarray(ours.var[...])
    y = ours(jnp.asarray(x), train=False)
    np.testing.assert_allclose(y, expected.detach().numpy().transpose(0, 2, 3, 1), atol=2e-5)
    np.testing.assert_array_equal(ours.mean[...], before[0])
    np.testing.assert_array_equal(ours.var[...], before[1])


def test_variance_survives_a_large_mean():
    x = jnp.asarray(random(0, (8, 4, 4, 1)) + 3000)
    y = BatchNorm(1, rngs=nnx.Rngs(0))(x, train=True)
    np.testing.assert_allclose(np.std(y), 1.0, rtol=1e-3)


def test_half_precision_keeps_float32_statistics():
    norm = BatchNorm(2, dtype=jnp.bfloat16, rngs=nnx.Rngs(0))
    x = jnp.asarray(random(0, (4, 4, 4, 2)), jnp.bfloat16)
    assert norm(x, train=True).dtype == jnp.bfloat16
    assert norm.mean[...].dtype == norm.var[...].dtype == norm.scale[...].dtype == jnp.float32
    wide = np.asarray(x, np.float64)
    np.testing.assert_allclose(norm.mean[...], 0.1 * wide.mean((0, 1, 2)), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(norm.var[...], 0.9 + 0.1 * wide.var((0, 1, 2), ddof=1), rtol=1e-5)


def test_initial_scale():
    norm = BatchNorm(5000, scale_mean=0.5, scale_std=0.02, rngs=nnx.Rngs(0))
    np.testing.assert_allclose(np.mean(norm.scale[...]), 0.5, atol=2e-3)
    np.testing.assert_allclose(np.std(norm.scale[...]), 0.02, rtol=0.05)
    np.testing.assert_array_equal(BatchNorm(4, rngs=nnx.Rngs(0)).scale[...], np.ones(4))


def test_affine_free_has_only_statistics():
    state = nnx.to_pure_dict(nnx.state(BatchNorm(3, affine=False, rngs=nnx.Rngs(0))))
    assert set(state) == {"mean", "var"}


def conditional(num_classes=3, channels=2):
    norm = ConditionalBatchNorm(channels, num_classes, decay=0.7, eps=1e-5, rngs=nnx.Rngs(0))
    norm.gain[...] = jnp.asarray(random(1, (num_classes, channels)))
    norm.bias[...] = jnp.asarray(random(2, (num_classes, channels)))
    return norm


def test_conditional_scales_by_one_plus_gain_of_each_images_class():
    norm, labels = conditional(), np.array([2, 0, 2, 1])
    x = random(0, (4, 3, 3, 2)) * 3 + 1
    x_hat = (x - x.mean((0, 1, 2))) / np.sqrt(x.var((0, 1, 2)) + 1e-5)
    gain, bias = np.asarray(norm.gain[...])[labels], np.asarray(norm.bias[...])[labels]
    expected = x_hat * (1 + gain[:, None, None]) + bias[:, None, None]
    y = norm(jnp.asarray(x), jnp.asarray(labels), train=True)
    np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(norm.norm.mean[...], 0.3 * x.mean((0, 1, 2)), rtol=1e-5)
    np.testing.assert_allclose(norm.norm.var[...], 0.7 + 0.3 * x.var((0, 1, 2), ddof=1), rtol=1e-5)


def test_conditional_mixes_classes_linearly():
    norm = conditional()
    norm.norm.mean[...], norm.norm.var[...] = jnp.array([1.0, -1.0]), jnp.array([4.0, 0.25])
    x = jnp.asarray(random(0, (1, 2, 2, 2)))
    first, last = (norm(x, jnp.array([y]), train=False) for y in (0, 2))
    mixed = norm(x, jnp.array([[0.25, 0.0, 0.75]]), train=False)
    np.testing.assert_allclose(mixed, 0.25 * first + 0.75 * last, rtol=1e-5, atol=1e-6)


def test_conditional_starts_as_plain_batch_norm():
    x = jnp.asarray(random(0, (4, 3, 3, 2)))
    y = ConditionalBatchNorm(2, 3, rngs=nnx.Rngs(0))(x, jnp.array([0, 1, 2, 0]), train=True)
    np.testing.assert_array_equal(y, BatchNorm(2, rngs=nnx.Rngs(0))(x, jnp.array([0, 1, 2, 0]), train=True))


def test_conditional_needs_labels():
    with pytest.raises(ValueError, match=r"`labels` \(=None\) must be given"):
        conditional()(jnp.ones((2, 2, 2, 2)), train=False)


def test_statistics_of_a_sharded_batch_are_global():
    graphdef, state = nnx.split(conditional())

    @jax.jit
    def apply(state, x, labels):
        norm = nnx.merge(graphdef, state)
        return norm(x, labels, train=True), nnx.to_pure_dict(nnx.state(norm, nnx.BatchStat))

    x, labels = jnp.asarray(random(0, (8, 2, 2, 2)) + np.arange(8)[:, None, None, None]), jnp.arange(8) % 3
    mesh = jax.make_mesh((8,), ("data",), axis_types=(AxisType.Auto,))
    sharded = NamedSharding(mesh, PartitionSpec("data"))
    one = apply(state, x, labels)
    eight = apply(state, jax.device_put(x, sharded), jax.device_put(labels, sharded))
    assert len(eight[0].sharding.device_set) == 8
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5), one, eight)


@pytest.mark.parametrize("conditional", [False, True])
def test_groups_are_normalised_as_batches_of_their_own(conditional):
    def build(groups):
        if conditional:
            norm = ConditionalBatchNorm(3, 2, decay=0.8, groups=groups, rngs=nnx.Rngs(0))
            norm.gain[...], norm.bias[...] = jnp.asarray(random(1, (2, 3))), jnp.asarray(random(2, (2, 3)))
        else:
            norm = BatchNorm(3, decay=0.8, groups=groups, rngs=nnx.Rngs(0))
        return norm, getattr(norm, "norm", norm)

    x, labels = jnp.asarray(3 * random(0, (6, 2, 4, 3)) + 5), jnp.asarray([0, 1, 1, 0, 0, 1])
    grouped, statistics = build(3)
    y = grouped(x, labels, train=True)
    moved = []
    for part in (slice(0, 2), slice(2, 4), slice(4, 6)):
        alone, its_statistics = build(1)
        np.testing.assert_allclose(y[part], alone(x[part], labels[part], train=True), atol=1e-5)
        moved.append((its_statistics.mean[...], its_statistics.var[...]))
    np.testing.assert_allclose(statistics.mean[...], np.mean([mean for mean, _ in moved], axis=0), rtol=1e-5)
    np.testing.assert_allclose(statistics.var[...], np.mean([var for _, var in moved], axis=0), rtol=1e-5)
    whole, _ = build(1)
    assert np.abs(np.asarray(y - whole(x, labels, train=True))).max() > 0.1
    evaluated = grouped(x[:5], labels[:5], train=False)  # 5 rows: no groups there
    np.testing.assert_allclose(evaluated[:2], grouped(x[:2], labels[:2], train=False), atol=1e-6)


def test_groups_must_divide_the_batch():
    with pytest.raises(ValueError, match=r"`groups` \(=4\) of batch norm must divide the batch \(=6\)"):
        BatchNorm(1, groups=4, rngs=nnx.Rngs(0))(jnp.zeros((6, 1, 1, 1)), train=True)
