import jax
import jax.numpy as jnp

from jaxgan.core.compilation import compiler_options
from jaxgan.layers.conv import conv


def _weight_gradient(x, kernel):
    return jax.grad(lambda kernel: jnp.sum(conv(x, kernel, 1, 1) ** 2))(kernel)


def test_convolutions_stay_out_of_the_slow_library_on_a_cpu():
    x, kernel = jnp.ones((32, 8, 8, 32)), jnp.ones((3, 3, 32, 64))
    ours = jax.jit(_weight_gradient, compiler_options=compiler_options()).lower(x, kernel).compile()
    assert "ynn_fusion" not in ours.as_text()
    assert "convolution(" in ours.as_text()


def test_sums_go_to_the_library_that_is_quick_at_them():
    total = jax.jit(lambda x: x.sum((0, 1, 2)), compiler_options=compiler_options())
    x = 3.0 + jax.random.normal(jax.random.key(0), (32, 16, 16, 8))
    assert "ynn_fusion" in total.lower(x).compile().as_text()
    first = total(x)
    assert jnp.allclose(first, jax.jit(lambda x: x.sum((0, 1, 2)))(x), rtol=1e-5)
    assert all((total(x) == first).all() for _ in range(20))  # however its threads are timed: resumption is bitwise


def test_the_options_change_nothing_but_rounding():
    x, kernel = jax.random.normal(jax.random.key(0), (8, 8, 8, 16)), jnp.ones((3, 3, 16, 16))
    ours = jax.jit(_weight_gradient, compiler_options=compiler_options())(x, kernel)
    default = jax.jit(_weight_gradient)(x, kernel)
    assert jnp.allclose(ours, default, rtol=1e-4, atol=1e-2)


def test_no_options_for_other_back_ends(monkeypatch):
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert compiler_options() == {}
