"""What a layer's function computes: its value, its gradients, and the gradients of a gradient penalty."""

import jax
import jax.numpy as jnp
import numpy as np


def random(seed, shape):
    return jnp.asarray(np.random.default_rng(seed).standard_normal(shape).astype(np.float32))


def with_derivatives(function, x, kernel):
    """Value, first derivatives, and those of a gradient penalty, as one program: many small ones compile slowly."""

    def loss(x, kernel):
        return jnp.sum(jnp.sin(function(x, kernel)))

    def penalty(x, kernel):
        return jnp.sum(jax.grad(loss)(x, kernel) ** 2)

    def everything(x, kernel):
        derivatives = (jax.grad(of, argnums=(0, 1))(x, kernel) for of in (loss, penalty))
        return function(x, kernel), *derivatives

    return jax.jit(everything)(x, kernel)
