"""Initial values of parameters.

Concrete keys are turned into a NumPy generator, traced keys (`nnx.eval_shape`, `jax.jit`) go through `jax.random`:
drawing a hundred differently shaped arrays with `jax.random` outside of a jit costs a hundred compilations. Both draw
from the same distributions, but not the same numbers.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.core import Tracer

SCHEMES = ("glorot", "glorot_sqrt2", "orthogonal", "normal", "torch", "torchgan")
LAYERS = ("linear", "conv", "transposed")
NORMAL_STD = 0.02  # DCGAN, Radford et al. 2015 (arXiv:1511.06434), section 4


@dataclasses.dataclass(frozen=True)
class Init:
    """How a network's kernels, biases and tables start.

    - glorot: U(-a, a), a = gain * sqrt(6 / (fan_in + fan_out)); biases 0 (self-attention-gan, BigGAN-PyTorch).
    - glorot_sqrt2: glorot, where models pass `residual_gain` (sqrt 2) for the 3x3 convolutions of residual blocks
      (sngan_projection, nnabla's SAGAN).
    - orthogonal: the kernel as a matrix (rest, out) has orthonormal rows or columns, times gain; biases 0.
    - normal: N(0, 0.02^2); biases 0 (DCGAN).
    - torch: U(-a, a), a = 1 / sqrt(fan_in), for kernels and biases, PyTorch's default of convolutions and linear
      layers; embeddings N(0, 1). Its fan_in of a transposed convolution is out * kh * kw.
    - torchgan: torch, but the kernels of the layers named in `redrawn` N(0, 2 / fan_in) (He et al. 2015,
      arXiv:1502.01852, equation 10), with the same fan_in. torchgan's models redraw the transposed convolutions of
      generators and the convolutions of discriminators, and leave every other layer and all biases as torch has them.

    Attributes:
      scheme: one of `SCHEMES`.
      redrawn: some of `LAYERS`; under torchgan only.

    Raises:
      ValueError: for an unknown scheme or layer.
    """

    scheme: str = "glorot"
    redrawn: tuple[str, ...] = ("conv", "transposed")

    def __post_init__(self) -> None:
        if self.scheme not in SCHEMES:
            raise ValueError(f"`init` (={self.scheme!r}) must be one of {', '.join(SCHEMES)}.")
        if not set(self.redrawn) <= set(LAYERS):
            raise ValueError(f"`redrawn` (={self.redrawn!r}) must be some of {', '.join(LAYERS)}.")

    @property
    def residual_gain(self) -> float:
        """Gain of the 3x3 convolutions of residual blocks."""
        return math.sqrt(2.0) if self.scheme == "glorot_sqrt2" else 1.0

    def kernel(self, rngs: nnx.Rngs, shape: Sequence[int], *, gain: float = 1.0, layer: str = "linear") -> jax.Array:
        """Draws a float32 kernel (..., in, out); the leading axes are the receptive field.

        Args:
          rngs: its `params` stream gives the key.
          shape: of the kernel.
          gain: factor of the glorot and orthogonal schemes.
          layer: what the kernel belongs to, one of `LAYERS`.
        """
        field = math.prod(shape[:-2])
        fan_in, fan_out = field * shape[-2], field * shape[-1]
        if self._as_torch:
            torch_fan_in = fan_out if layer == "transposed" else fan_in
            if self.scheme == "torchgan" and layer in self.redrawn:
                return normal(rngs, shape, math.sqrt(2.0 / torch_fan_in))
            return uniform(rngs, shape, 1.0 / math.sqrt(torch_fan_in))
        if self.scheme == "normal":
            return normal(rngs, shape, NORMAL_STD)
        if self.scheme == "orthogonal":
            return orthogonal(rngs, shape, gain)
        return uniform(rngs, shape, gain * math.sqrt(6.0 / (fan_in + fan_out)))

    def bias(self, rngs: nnx.Rngs, features: int, *, fan_in: int) -> jax.Array:
        """Draws a float32 bias (features,): zeros, as torch does U(-a, a) with a = 1 / sqrt(fan_in)."""
        if self._as_torch:
            return uniform(rngs, (features,), 1.0 / math.sqrt(fan_in))
        return constant((features,), 0.0)

    def table(self, rngs: nnx.Rngs, shape: tuple[int, int]) -> jax.Array:
        """Draws an embedding (num_embeddings, features): as a kernel of that shape, as torch does N(0, 1)."""
        return normal(rngs, shape, 1.0) if self._as_torch else self.kernel(rngs, shape)

    @property
    def _as_torch(self) -> bool:
        return self.scheme in ("torch", "torchgan")


def constant(shape: Sequence[int], value: float) -> jax.Array:
    """Returns a float32 array full of `value`, without compiling anything outside of a trace."""
    traced = isinstance(jnp.zeros(()), Tracer)
    return jnp.full(shape, value, jnp.float32) if traced else jnp.asarray(np.full(shape, value, np.float32))


def uniform(rngs: nnx.Rngs, shape: Sequence[int], limit: float) -> jax.Array:
    """Draws float32 from U(-limit, limit)."""
    source = _source(rngs)
    if isinstance(source, np.random.Generator):
        return jnp.asarray((source.random(shape, dtype=np.float32) * 2 - 1) * np.float32(limit))
    return jax.random.uniform(source, shape, jnp.float32, -limit, limit)


def normal(rngs: nnx.Rngs, shape: Sequence[int], std: float, mean: float = 0.0) -> jax.Array:
    """Draws float32 from N(mean, std^2)."""
    source = _source(rngs)
    if isinstance(source, np.random.Generator):
        return jnp.asarray(source.standard_normal(shape, dtype=np.float32) * np.float32(std) + np.float32(mean))
    return jax.random.normal(source, shape, jnp.float32) * std + mean


def orthogonal(rngs: nnx.Rngs, shape: Sequence[int], gain: float) -> jax.Array:
    """Draws float32 (..., out) that as a matrix (rest, out) has orthonormal columns, or rows where out is larger.

    Uniform over such matrices: QR of a Gaussian matrix with the signs of R's diagonal moved into Q (Mezzadri 2007,
    arXiv:math-ph/0609050, section 5), as `torch.nn.init.orthogonal_`.
    """
    source = _source(rngs)
    if not isinstance(source, np.random.Generator):
        return jax.nn.initializers.orthogonal(gain)(source, tuple(shape), jnp.float32)
    rest, out = math.prod(shape[:-1]), shape[-1]
    q, r = np.linalg.qr(source.standard_normal((max(rest, out), min(rest, out)), dtype=np.float32))
    q = q * np.sign(np.diagonal(r))[None, :]
    return jnp.asarray((q if rest >= out else q.T).reshape(shape) * np.float32(gain))


def _source(rngs: nnx.Rngs) -> np.random.Generator | jax.Array:
    key = rngs.params()
    if isinstance(key, Tracer):
        return key
    words = [int(word) for word in np.asarray(jax.random.key_data(key)).ravel()]
    return np.random.Generator(np.random.Philox(np.random.SeedSequence(words)))
