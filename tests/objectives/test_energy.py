"""EBGAN and BEGAN: hand-computed values, loops over pairs and steps, and which gradients exist."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgan.objectives import energy

REAL = np.array([1.0, 3.0, 0.5], np.float32)
FAKE = np.array([2.0, 6.0, 0.0], np.float32)
ROWS = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)


def test_energy_based_values_by_hand():
    loss = energy.energy_based(5.0)
    np.testing.assert_allclose(loss.d(REAL, FAKE), [1.0 + 3.0, 3.0 + 0.0, 0.5 + 5.0])
    np.testing.assert_allclose(loss.g(FAKE), FAKE)


def test_a_fake_beyond_the_margin_gives_d_no_gradient():
    gradient = jax.grad(lambda fake: jnp.sum(energy.energy_based(5.0).d(REAL, fake)))(jnp.asarray(FAKE))
    np.testing.assert_array_equal(gradient, [-1.0, 0.0, -1.0])


@pytest.mark.parametrize("margin", [0.0, -1.0, float("nan")])
def test_a_margin_must_be_positive(margin):
    with pytest.raises(ValueError, match="margin .* must be positive"):
        energy.energy_based(margin)


def test_energies_are_float32_whatever_the_network_computes_in():
    d = energy.energy_based(80.0).d(jnp.asarray(REAL, jnp.bfloat16), jnp.asarray(FAKE, jnp.bfloat16))
    assert d.dtype == jnp.float32
    np.testing.assert_array_equal(d, REAL + np.maximum(80.0 - FAKE, 0))


@pytest.mark.parametrize("power", [1.0, 2.0])
def test_reconstruction_energy_is_a_mean_per_image(power):
    rng = np.random.default_rng(1)
    a, b = rng.normal(size=(2, 3, 4, 4, 1)).astype(np.float32)
    expected = [np.mean(np.abs(a[i] - b[i]) ** power) for i in range(3)]
    np.testing.assert_allclose(energy.reconstruction_energy(a, b, power=power), expected, rtol=1e-6)
    with pytest.raises(ValueError, match="must agree"):
        energy.reconstruction_energy(a, b[:1])


def test_pulling_away_is_a_double_loop_over_different_rows():
    total = 0.0
    for i in range(5):
        for j in range(5):
            if i != j:
                a, b = ROWS[i].astype(np.float64), ROWS[j].astype(np.float64)
                total += (a @ b / np.linalg.norm(a) / np.linalg.norm(b)) ** 2
    np.testing.assert_allclose(energy.pulling_away(ROWS), total / (5 * 4), rtol=1e-5)


def test_pulling_away_is_0_for_orthogonal_and_1_for_parallel_rows_of_any_length():
    np.testing.assert_allclose(energy.pulling_away(np.diag([1.0, 5.0, 0.1])), 0.0, atol=1e-7)
    np.testing.assert_allclose(energy.pulling_away(np.array([[1.0, 2.0], [-3.0, -6.0]])), 1.0, rtol=1e-6)


def test_pulling_away_survives_a_dead_embedding():
    dead = jnp.asarray(ROWS).at[2].set(0.0)
    value, gradient = jax.value_and_grad(energy.pulling_away)(dead)
    assert np.isfinite(value) and np.isfinite(gradient).all() and np.any(gradient[0])


@pytest.mark.parametrize("shape", [(5,), (1, 3), (2, 3, 1)])
def test_pulling_away_says_what_it_needs(shape):
    with pytest.raises(ValueError, match=r"must be \(B, D\) with B >= 2"):
        energy.pulling_away(jnp.ones(shape))


def test_boundary_equilibrium_by_hand_for_three_steps():
    # k: 0 -> clip(0.1 (0.5 mean - mean)), with energies whose balance goes up, up beyond 1, and down.
    steps = [([4.0, 8.0], [1.0, 1.0]), ([40.0, 40.0], [2.0, 4.0]), ([1.0, 3.0], [5.0, 7.0])]
    expected_k = [0.1 * (0.5 * 6 - 1), 1.0, 1.0 + 0.1 * (0.5 * 2 - 6)]
    k = jnp.zeros(())
    for (real, fake), expected in zip(steps, expected_k, strict=True):
        real, fake = np.array(real, np.float32), np.array(fake, np.float32)
        np.testing.assert_allclose(energy.boundary_equilibrium_d(real, fake, k), real - float(k) * fake, rtol=1e-6)
        k = energy.update_balance(k, real, fake, gamma=0.5, lambda_k=0.1)
        np.testing.assert_allclose(k, expected, rtol=1e-6)
    np.testing.assert_array_equal(energy.boundary_equilibrium_g(fake), fake)
    np.testing.assert_array_equal(energy.update_balance(k, np.zeros(2), np.ones(2) * 100, lambda_k=0.1), 0.0)


def test_the_balance_is_a_constant_to_autodiff():
    def d(real, k):
        k = energy.update_balance(k, real, FAKE)
        return jnp.sum(energy.boundary_equilibrium_d(real, FAKE, k))

    gradients = jax.grad(d, argnums=(0, 1))(jnp.asarray(REAL), jnp.asarray(0.5))
    np.testing.assert_array_equal(gradients[0], np.ones(3))
    np.testing.assert_array_equal(gradients[1], 0.0)
    direct = jax.grad(lambda k: jnp.sum(energy.boundary_equilibrium_d(REAL, FAKE, k)))(jnp.asarray(0.5))
    np.testing.assert_array_equal(direct, 0.0)


def test_convergence_by_hand():
    # mean E(x) = 1.5, mean E(G(z)) = 8 / 3
    np.testing.assert_allclose(energy.convergence_measure(REAL, FAKE, gamma=0.5), 1.5 + abs(0.75 - 8 / 3), rtol=1e-6)
    np.testing.assert_allclose(energy.convergence_measure(REAL, 0 * FAKE, gamma=0.5), 1.5 + 0.75, rtol=1e-6)
