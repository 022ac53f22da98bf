"""The CPU's convolutions against XLA's own of a dilated input."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgan.layers import conv_cpu
from jaxgan.layers.conv import conv, conv_transpose
from tests.layers.derivatives import random, with_derivatives

# kernel, stride, padding; among them a kernel smaller than its stride
SETTINGS = [(4, 2, 1), (5, 3, 2), (1, 2, 0), (2, 3, 0)]


def assert_same_on_another_back_end(function, x, kernel, monkeypatch):
    own = with_derivatives(function, x, kernel)
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    automatic = with_derivatives(function, x, kernel)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4), own, automatic)


@pytest.mark.parametrize(("k", "s", "p"), SETTINGS)
def test_strided(k, s, p, monkeypatch):
    x, kernel = random(0, (2, 8, 7, 3)), random(1, (k, k, 3, 2))
    assert_same_on_another_back_end(lambda x, kernel: conv(x, kernel, s, p), x, kernel, monkeypatch)


@pytest.mark.parametrize(("k", "s", "p"), [*SETTINGS, (4, 1, 1)])
@pytest.mark.parametrize("largest", [False, True])
def test_transposed(k, s, p, largest, monkeypatch):
    x, kernel = random(0, (2, 3, 4, 3)), random(1, (k, k, 3, 2))
    output_padding = s - 1 if largest else 0
    transposed = lambda x, kernel: conv_transpose(x, kernel, s, p, output_padding)  # noqa: E731
    assert_same_on_another_back_end(transposed, x, kernel, monkeypatch)


def test_oblong_kernel():
    x, kernel = random(0, (1, 3, 3, 2)), random(1, (2, 4, 2, 2))
    definition = jax.lax.conv_general_dilated(
        x, kernel, (1, 1), ((1, 1), (3, 3)), lhs_dilation=(2, 2), dimension_numbers=("NHWC", "HWIO", "NHWC")
    )
    np.testing.assert_allclose(conv_cpu.transposed_conv(x, kernel, 2, 0, 0), definition, rtol=1e-4, atol=1e-4)


def test_no_zeros_are_multiplied_on_a_cpu():
    x, kernel, wide = jnp.ones((1, 8, 8, 2)), jnp.ones((4, 4, 2, 2)), jnp.ones((1, 4, 4, 2))

    def step(x, wide, kernel):
        return jnp.sum(conv(x, kernel, 2, 1) ** 2) + jnp.sum(conv_transpose(wide, kernel, 2, 1) ** 2)

    program = str(jax.make_jaxpr(jax.grad(step, argnums=(0, 1, 2)))(x, wide, kernel))
    assert "lhs_dilation=(1, 1)" in program
    assert "lhs_dilation=(2, 2)" not in program
