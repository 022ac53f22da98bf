"""Feature matching and historical averaging, against their definitions in NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgan.objectives import matching

RNG = np.random.default_rng(0)
REAL = RNG.normal(size=(6, 2, 2, 3)).astype(np.float32)
FAKE = RNG.normal(size=(4, 2, 2, 3)).astype(np.float32)


def test_feature_matching_compares_batch_means():
    expected = np.sum((REAL.mean(axis=0) - FAKE.mean(axis=0)) ** 2)
    np.testing.assert_allclose(matching.feature_matching(REAL, FAKE), expected, rtol=1e-5)


def test_feature_matching_does_not_care_which_image_is_which():
    value = matching.feature_matching(REAL, REAL[::-1])
    np.testing.assert_allclose(value, 0.0, atol=1e-10)  # the difference of single images is far from 0


def test_feature_matching_trains_the_fakes_alone():
    real, fake = jax.grad(matching.feature_matching, argnums=(0, 1))(jnp.asarray(REAL), jnp.asarray(FAKE))
    assert not np.any(real)
    expected = 2 * (FAKE.mean(axis=0) - REAL.mean(axis=0)) / 4
    np.testing.assert_allclose(fake, np.broadcast_to(expected, FAKE.shape), rtol=1e-4, atol=1e-6)


def test_features_of_different_shapes_are_refused():
    with pytest.raises(ValueError, match="one shape behind the batch axis"):
        matching.feature_matching(REAL, FAKE[..., :1])


def test_historical_average_is_that_of_a_loop():
    history = [{"a": RNG.normal(size=(3,)).astype(np.float32), "b": {"c": np.float32(RNG.normal())}} for _ in range(6)]
    mean = jax.tree.map(lambda x: jnp.asarray(x) + 100.0, history[0])  # of no values: must not matter
    for count, now in enumerate(history):
        if count:
            past = {"a": np.mean([h["a"] for h in history[:count]], axis=0)}
            past["b"] = np.mean([h["b"]["c"] for h in history[:count]])
            expected = np.sum((now["a"] - past["a"]) ** 2) + (now["b"]["c"] - past["b"]) ** 2
            np.testing.assert_allclose(matching.squared_distance(now, mean), expected, rtol=1e-4)
        mean = matching.running_mean(mean, jnp.asarray(count), now)
    np.testing.assert_allclose(mean["a"], np.mean([h["a"] for h in history], axis=0), rtol=1e-4)


def test_the_past_is_a_constant():
    now, past = jnp.array([1.0, 2.0]), jnp.array([0.5, 4.0])
    gradients = jax.grad(matching.squared_distance, argnums=(0, 1))(now, past)
    np.testing.assert_allclose(gradients[0], 2 * (now - past))
    assert not np.any(gradients[1])
    through = jax.grad(lambda x: jnp.sum(matching.running_mean(past, jnp.asarray(3), x)))(now)
    assert not np.any(through)
