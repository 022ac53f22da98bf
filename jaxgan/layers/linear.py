"""Linear layer and embedding, each with optional spectral norm."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike

from jaxgan.layers.init import Init
from jaxgan.layers.spectral_norm import SpectralNorm, effective_kernel, make_spectral_vector


class Linear(nnx.Module):
    """x @ kernel + bias over the last axis: (..., in) -> (..., out) in `dtype`.

    Parameters: `kernel` (in, out), `bias` (out,). With `sn` the kernel is divided by its spectral norm, `u` (out,).
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        bias: bool = True,
        sn: SpectralNorm | None = None,
        init: Init | None = None,
        dtype: DTypeLike = jnp.float32,
        rngs: nnx.Rngs,
    ):
        init = init or Init()
        self.kernel = nnx.Param(init.kernel(rngs, (in_features, out_features)))
        self.bias = nnx.Param(init.bias(rngs, out_features, fan_in=in_features)) if bias else None
        self.u = make_spectral_vector(rngs, out_features, sn)
        self.sn = sn
        self.dtype = dtype

    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        kernel = effective_kernel(self.kernel, self.u, self.sn, train=train)
        return add_bias(jnp.dot(x.astype(self.dtype), kernel.astype(self.dtype)), self.bias)


class Embed(nnx.Module):
    """Rows of `table` (num_embeddings, features), in `dtype`.

    With `sn` the table is divided by its spectral norm; `u` (num_embeddings,) lives on the class axis, as in
    TensorFlow's self-attention-gan and BigGAN-PyTorch (nnabla's SAGAN has it on the feature axis; sigma's limit is
    the same).
    """

    def __init__(
        self,
        num_embeddings: int,
        features: int,
        *,
        sn: SpectralNorm | None = None,
        init: Init | None = None,
        dtype: DTypeLike = jnp.float32,
        rngs: nnx.Rngs,
    ):
        self.table = nnx.Param((init or Init()).table(rngs, (num_embeddings, features)))
        self.u = make_spectral_vector(rngs, num_embeddings, sn)
        self.sn = sn
        self.dtype = dtype

    def __call__(self, labels: jax.Array, *, train: bool) -> jax.Array:
        """Returns (B, features) for `labels`, as `look_up` reads them."""
        table = effective_kernel(self.table, self.u, self.sn, train=train, axis=0)
        return look_up(table, labels).astype(self.dtype)


def look_up(table: jax.Array, labels: jax.Array) -> jax.Array:
    """Reads a table (num_classes, features) by class.

    Args:
      table: float32.
      labels: class ids, integer (B,), or mixtures of classes, floating (B, num_classes), whose rows weigh the
        table's rows (they usually sum to 1; class morphing). Ids outside of the table give NaN.

    Returns:
      (B, features) in the table's dtype.

    Raises:
      ValueError: for labels of another shape or kind.
    """
    if labels.ndim == 1 and jnp.issubdtype(labels.dtype, jnp.integer):
        return jnp.take(table, labels, axis=0, mode="fill")
    if labels.ndim == 2 and jnp.issubdtype(labels.dtype, jnp.floating) and labels.shape[1] == table.shape[0]:
        return jnp.dot(labels.astype(table.dtype), table, precision=jax.lax.Precision.HIGHEST)
    raise ValueError(
        f"`labels` (={labels.dtype.name}{list(labels.shape)}) must be integer class ids [B] or floating mixture "
        f"weights [B, {table.shape[0]}]."
    )


def add_bias(x: jax.Array, bias: nnx.Param | None) -> jax.Array:
    """Adds a bias (features,) along the last axis of x, in x's dtype; None adds nothing."""
    if bias is None:
        return x
    return x + bias[...].astype(x.dtype).reshape((1,) * (x.ndim - 1) + (-1,))
