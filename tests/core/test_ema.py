"""The moving average by its formula."""

import jax.numpy as jnp
import numpy as np
import pytest

from jaxgan.core import ema


def test_halflife_halves():
    decay = ema.decay_of_halflife(halflife_images=1_000, batch_size=10)
    assert decay**100 == pytest.approx(0.5)


def test_halflife_of_the_published_decay():
    assert ema.decay_of_halflife(1_774_356, 256) == pytest.approx(0.9999, abs=1e-8)


@pytest.mark.parametrize(("step", "expected"), [(1, 3.0), (5, 3.0), (6, 0.9 * 1 + 0.1 * 3)])
def test_copies_until_the_start_and_averages_after(step, expected):
    average = {"w": jnp.asarray([1.0]), "count": jnp.asarray(1)}
    current = {"w": jnp.asarray([3.0]), "count": jnp.asarray(9)}
    got = ema.update(average, current, decay=0.9, step=jnp.asarray(step), start_step=5)
    np.testing.assert_allclose(got["w"], [expected], rtol=1e-6)
    assert int(got["count"]) == 9, "integers have no average"


def test_many_updates_equal_the_weighted_sum():
    values = np.random.default_rng(0).normal(size=20).astype(np.float32)
    average = jnp.asarray(values[0])
    for i, v in enumerate(values[1:]):
        average = ema.update(average, jnp.asarray(v), decay=0.8, step=jnp.asarray(i + 2), start_step=1)
    weights = 0.2 * 0.8 ** np.arange(18, -1, -1)
    np.testing.assert_allclose(average, 0.8**19 * values[0] + weights @ values[1:], rtol=1e-5)
