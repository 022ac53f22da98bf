"""Batch normalisation, plain and class-conditional, of feature maps (B, H, W, C).

Statistics are means over the whole batch array. Under `jax.jit` with a batch sharded over devices that array is the
global batch, so they are global too, without any collective written here. With groups as many as devices, or a multiple
of that, each device normalises its own part and none waits for another (ghost batch norm).
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike

from jaxgan.layers.init import constant, normal
from jaxgan.layers.linear import look_up


class BatchNorm(nnx.Module):
    """(x - mean) / sqrt(var + eps), then * scale + bias where `affine`; the result is in `dtype`.

    Training normalises by the batch's mean and biased variance (float32, two passes) and moves the running statistics
    once per call: running = decay * running + (1 - decay) * batch. The running variance takes the unbiased n / (n - 1)
    variance, as PyTorch, nnabla and BigGAN-PyTorch do (TensorFlow takes the biased one); PyTorch's momentum is
    1 - decay. Evaluation normalises by the running statistics and changes nothing.

    With `groups` > 1 training normalises each of that many equal parts of the batch (consecutive rows) by statistics of
    its own, and the running statistics move by the mean of the parts' means and unbiased variances.

    Parameters: `scale` (C,) ~ N(scale_mean, scale_std^2), `bias` (C,) = 0. Statistics: `mean`, `var` (C,).
    Reference: Ioffe & Szegedy 2015 (arXiv:1502.03167), Algorithm 1; groups: ghost batch norm, Hoffer et al. 2017
    (arXiv:1705.08741), section 4, whose running statistics move part after part instead.
    """

    def __init__(
        self,
        channels: int,
        *,
        affine: bool = True,
        decay: float = 0.9,
        eps: float = 1e-5,
        groups: int = 1,
        scale_mean: float = 1.0,
        scale_std: float = 0.0,
        dtype: DTypeLike = jnp.float32,
        rngs: nnx.Rngs,
    ):
        drawn = normal(rngs, (channels,), scale_std, scale_mean) if scale_std else constant((channels,), scale_mean)
        self.scale = nnx.Param(drawn) if affine else None
        self.bias = nnx.Param(constant((channels,), 0.0)) if affine else None
        self.mean = nnx.BatchStat(constant((channels,), 0.0))
        self.var = nnx.BatchStat(constant((channels,), 1.0))
        self.decay, self.eps, self.groups, self.dtype = decay, eps, groups, dtype

    def __call__(self, x: jax.Array, labels: jax.Array | None = None, *, train: bool) -> jax.Array:
        """Normalises x (B, H, W, C); labels are ignored, so that this stands in for `ConditionalBatchNorm`."""
        del labels
        x_hat = self.normalize(x, train=train)
        if self.scale is not None and self.bias is not None:
            x_hat = x_hat * self.scale[...][None, None, None, :] + self.bias[...][None, None, None, :]
        return x_hat.astype(self.dtype)

    def normalize(self, x: jax.Array, *, train: bool) -> jax.Array:
        """Returns the normalised x before scale and bias, float32; in training moves the running statistics.

        Raises:
          ValueError: in training, when `groups` does not divide B.
        """
        x = x.astype(jnp.float32)
        if train and self.groups > 1:
            return self._normalize_groups(x)
        mean, var = self.mean[...], self.var[...]
        if train:
            mean = x.mean(axis=(0, 1, 2))
            var = jnp.square(x - mean[None, None, None, :]).mean(axis=(0, 1, 2))
            self._update(mean, var, x.size // x.shape[-1])
        return (x - mean[None, None, None, :]) * jax.lax.rsqrt(var + self.eps)[None, None, None, :]

    def _normalize_groups(self, x: jax.Array) -> jax.Array:
        if x.shape[0] % self.groups:
            raise ValueError(f"`groups` (={self.groups}) of batch norm must divide the batch (={x.shape[0]}).")
        parts = x.reshape(self.groups, -1, *x.shape[1:])  # (groups, B / groups, H, W, C)
        mean = parts.mean(axis=(1, 2, 3), keepdims=True)
        var = jnp.square(parts - mean).mean(axis=(1, 2, 3), keepdims=True)
        self._update(mean.mean(axis=(0, 1, 2, 3)), var.mean(axis=(0, 1, 2, 3)), parts[0].size // x.shape[-1])
        return ((parts - mean) * jax.lax.rsqrt(var + self.eps)).reshape(x.shape)

    def _update(self, mean: jax.Array, var: jax.Array, count: int) -> None:
        unbiased = var * (count / max(count - 1, 1))
        self.mean.set_value(self.decay * self.mean[...] + (1 - self.decay) * jax.lax.stop_gradient(mean))
        self.var.set_value(self.decay * self.var[...] + (1 - self.decay) * jax.lax.stop_gradient(unbiased))


class ConditionalBatchNorm(nnx.Module):
    """x_hat * (1 + gain[y]) + bias[y], with a row of gains and of biases per class, both starting at zero.

    Reference: Dumoulin et al. 2017 (arXiv:1610.07629), equation 5. Equals the tables of ones and zeros without an
    additional 1 of self-attention-gan and nnabla's SAGAN; BigGAN-PyTorch has the 1 too, but starts from Xavier
    uniform tables. The tables are not spectrally normalised (PyTorch-StudioGAN's are).

    Parameters: `gain`, `bias` (num_classes, C). Statistics are those of the affine-free `norm`.
    """

    def __init__(
        self,
        channels: int,
        num_classes: int,
        *,
        decay: float = 0.9,
        eps: float = 1e-5,
        groups: int = 1,
        dtype: DTypeLike = jnp.float32,
        rngs: nnx.Rngs,
    ):
        self.norm = BatchNorm(channels, affine=False, decay=decay, eps=eps, groups=groups, rngs=rngs)
        self.gain = nnx.Param(constant((num_classes, channels), 0.0))
        self.bias = nnx.Param(constant((num_classes, channels), 0.0))
        self.dtype = dtype

    def __call__(self, x: jax.Array, labels: jax.Array | None = None, *, train: bool) -> jax.Array:
        """Normalises x (B, H, W, C) with labels int (B,), or float (B, num_classes) to mix classes.

        Raises:
          ValueError: when labels are missing or of another shape or kind.
        """
        if labels is None:
            raise ValueError("`labels` (=None) must be given to class-conditional batch norm.")
        gain, bias = look_up(self.gain[...], labels), look_up(self.bias[...], labels)
        x_hat = self.norm.normalize(x, train=train)
        return (x_hat * (1 + gain)[:, None, None, :] + bias[:, None, None, :]).astype(self.dtype)
