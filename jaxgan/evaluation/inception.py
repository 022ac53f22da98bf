"""FID's Inception-v3: the network of the TensorFlow graph of 2015-12-05, which published scores are made with.

It is not the Inception-v3 of today's model collections: the average pools beside the convolutions leave the padding out
of their count, the last block has a max pool in that place, and there are 1008 classes.

Szegedy et al. 2015 (arXiv:1512.00567) describe the architecture, Heusel et al. 2017 (arXiv:1706.08500) chose this graph
for the Frechet distance. Blocks, names and shapes are those of pytorch-fid's port, whose weights fit one to one.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import lax

CHANNELS, CLASSES = 3, 1008
BN_EPS = 1e-3
# Convolutions in the reduced precision that accelerators prefer move the features by 1e-3, and so the scores.
PRECISION = lax.Precision.HIGHEST


@dataclasses.dataclass(frozen=True)
class Conv:
    """Convolution without bias, batch norm, ReLU; `kernel` is (height, width)."""

    name: str
    channels: int
    kernel: tuple[int, int] = (1, 1)
    stride: int = 1
    padding: str = "SAME"


@dataclasses.dataclass(frozen=True)
class Pool:
    """A 3x3 pool: "max" or "mean"; the mean is over the pixels inside of the image."""

    kind: str
    stride: int = 1
    padding: str = "SAME"


@dataclasses.dataclass(frozen=True)
class Fork:
    """Paths that start from the same map; their results are concatenated. `name` precedes the names of its steps."""

    name: str
    paths: tuple[tuple[Conv | Pool | Fork, ...], ...]


Path = tuple[Conv | Pool | Fork, ...]
_HALVE = Pool("max", 2, "VALID")


def _block_a(name: str, pooled: int) -> Fork:  # 35 x 35
    return Fork(
        name,
        (
            (Conv("branch1x1", 64),),
            (Conv("branch5x5_1", 48), Conv("branch5x5_2", 64, (5, 5))),
            (Conv("branch3x3dbl_1", 64), Conv("branch3x3dbl_2", 96, (3, 3)), Conv("branch3x3dbl_3", 96, (3, 3))),
            (Pool("mean"), Conv("branch_pool", pooled)),
        ),
    )


def _block_c(name: str, inner: int) -> Fork:  # 17 x 17
    return Fork(
        name,
        (
            (Conv("branch1x1", 192),),
            (Conv("branch7x7_1", inner), Conv("branch7x7_2", inner, (1, 7)), Conv("branch7x7_3", 192, (7, 1))),
            (
                Conv("branch7x7dbl_1", inner),
                Conv("branch7x7dbl_2", inner, (7, 1)),
                Conv("branch7x7dbl_3", inner, (1, 7)),
                Conv("branch7x7dbl_4", inner, (7, 1)),
                Conv("branch7x7dbl_5", 192, (1, 7)),
            ),
            (Pool("mean"), Conv("branch_pool", 192)),
        ),
    )


def _block_e(name: str, pool: Pool) -> Fork:  # 8 x 8
    def halves(stem: str) -> Fork:
        return Fork("", ((Conv(f"{stem}a", 384, (1, 3)),), (Conv(f"{stem}b", 384, (3, 1)),)))

    return Fork(
        name,
        (
            (Conv("branch1x1", 320),),
            (Conv("branch3x3_1", 384), halves("branch3x3_2")),
            (Conv("branch3x3dbl_1", 448), Conv("branch3x3dbl_2", 384, (3, 3)), halves("branch3x3dbl_3")),
            (pool, Conv("branch_pool", 192)),
        ),
    )


_MIXED_6A = Fork(
    "Mixed_6a",
    (
        (Conv("branch3x3", 384, (3, 3), 2, "VALID"),),
        (
            Conv("branch3x3dbl_1", 64),
            Conv("branch3x3dbl_2", 96, (3, 3)),
            Conv("branch3x3dbl_3", 96, (3, 3), 2, "VALID"),
        ),
        (_HALVE,),
    ),
)
_MIXED_7A = Fork(
    "Mixed_7a",
    (
        (Conv("branch3x3_1", 192), Conv("branch3x3_2", 320, (3, 3), 2, "VALID")),
        (
            Conv("branch7x7x3_1", 192),
            Conv("branch7x7x3_2", 192, (1, 7)),
            Conv("branch7x7x3_3", 192, (7, 1)),
            Conv("branch7x7x3_4", 192, (3, 3), 2, "VALID"),
        ),
        (_HALVE,),
    ),
)

# The part of the network between one feature map and the next; a part is named by the channels that it ends with.
STAGES: Mapping[int, Path] = {
    64: (
        Conv("Conv2d_1a_3x3", 32, (3, 3), 2, "VALID"),
        Conv("Conv2d_2a_3x3", 32, (3, 3), 1, "VALID"),
        Conv("Conv2d_2b_3x3", 64, (3, 3)),
        _HALVE,
    ),
    192: (Conv("Conv2d_3b_1x1", 80), Conv("Conv2d_4a_3x3", 192, (3, 3), 1, "VALID"), _HALVE),
    768: (
        *(_block_a("Mixed_5b", 32), _block_a("Mixed_5c", 64), _block_a("Mixed_5d", 64), _MIXED_6A),
        *(_block_c("Mixed_6b", 128), _block_c("Mixed_6c", 160), _block_c("Mixed_6d", 160), _block_c("Mixed_6e", 192)),
    ),
    2048: (_MIXED_7A, _block_e("Mixed_7b", Pool("mean")), _block_e("Mixed_7c", Pool("max"))),
}
DIMS = tuple(STAGES)


def parameter_shapes(dims: int = 2048, *, logits: bool = True) -> dict[str, tuple[int, ...]]:
    """Returns {name in pytorch-fid's file: shape, convolutions (out, in, height, width)} of all that is needed.

    Args:
      dims: which features, one of DIMS.
      logits: whether the 1008 logits are needed too; they need the whole network.
    """
    shapes: dict[str, tuple[int, ...]] = {}
    channels = CHANNELS
    for stage in _stages(dims, logits):
        for prefix, conv, inputs in _convs(STAGES[stage], channels, ""):
            shapes[f"{prefix}.conv.weight"] = (conv.channels, inputs, *conv.kernel)
            for part in ("weight", "bias", "running_mean", "running_var"):
                shapes[f"{prefix}.bn.{part}"] = (conv.channels,)
        channels = stage
    return shapes | ({"fc.weight": (CLASSES, DIMS[-1]), "fc.bias": (CLASSES,)} if logits else {})


def _stages(dims: int, logits: bool) -> tuple[int, ...]:
    return DIMS if logits else DIMS[: DIMS.index(dims) + 1]


def _convs(path: Path, inputs: int, prefix: str) -> Iterator[tuple[str, Conv, int]]:
    """Yields (full name, convolution, input channels) in the order of the table."""
    for step in path:
        if isinstance(step, Conv):
            yield prefix + step.name, step, inputs
        elif isinstance(step, Fork):
            inner = _inside(prefix, step)
            for branch in step.paths:
                yield from _convs(branch, inputs, inner)
        inputs = _out_channels((step,), inputs)


def _inside(prefix: str, fork: Fork) -> str:
    return f"{prefix}{fork.name}." if fork.name else prefix


def _out_channels(path: Path, inputs: int) -> int:
    for step in path:
        if isinstance(step, Conv):
            inputs = step.channels
        elif isinstance(step, Fork):
            inputs = sum(_out_channels(branch, inputs) for branch in step.paths)
    return inputs


class ConvNorm(nnx.Module):
    """Convolution, batch norm with fixed statistics, ReLU; (B, H, W, in) -> (B, H', W', out).

    The norm is folded, in float64, into `kernel` (height, width, in, out) and `bias` (out,): with the scale
    s = weight / sqrt(running_var + 1e-3), the kernel is multiplied by s and the bias is bn.bias - running_mean s.
    """

    def __init__(self, conv: Conv, weights: Mapping[str, np.ndarray], prefix: str):
        weight, gain, bias, mean, var = (
            np.asarray(weights[f"{prefix}.{name}"], np.float64)
            for name in ("conv.weight", "bn.weight", "bn.bias", "bn.running_mean", "bn.running_var")
        )
        scale = gain / np.sqrt(var + BN_EPS)
        self.kernel = nnx.Param(jnp.asarray(weight.transpose(2, 3, 1, 0) * scale, jnp.float32))
        self.bias = nnx.Param(jnp.asarray(bias - mean * scale, jnp.float32))
        self.stride, self.padding = conv.stride, conv.padding

    def __call__(self, x: jax.Array) -> jax.Array:
        layout = ("NHWC", "HWIO", "NHWC")
        strides = (self.stride, self.stride)
        y = lax.conv_general_dilated(
            x, self.kernel[...], strides, self.padding, dimension_numbers=layout, precision=PRECISION
        )
        return jax.nn.relu(y + self.bias[...][None, None, None])


class InceptionV3(nnx.Module):
    """Inception-v3 of FID, for inference, run only as deep as the asked features need.

    Variables: `convs`, a ConvNorm under the dotted name of each of pytorch-fid's modules (as `Mixed_5b.branch1x1`), and
    with `logits` also `fc_kernel` (2048, 1008) and `fc_bias` (1008,).

    Args:
      weights: arrays by their name in pytorch-fid's file, of the shapes of `parameter_shapes(dims, logits=logits)`;
        more are allowed.
      dims: 64 (first max pool), 192 (second max pool), 768 (Mixed_6e) or 2048 (Mixed_7c).
      logits: whether `__call__` returns the logits as well.
    """

    def __init__(self, weights: Mapping[str, np.ndarray], *, dims: int = 2048, logits: bool = False):
        self.dims, self.stages, self.has_logits = dims, _stages(dims, logits), logits
        convs = {name: conv for stage in self.stages for name, conv, _ in _convs(STAGES[stage], 0, "")}
        self.convs = nnx.Dict({name: ConvNorm(conv, weights, name) for name, conv in convs.items()})
        if logits:
            self.fc_kernel = nnx.Param(jnp.asarray(np.asarray(weights["fc.weight"], np.float32).T))
            self.fc_bias = nnx.Param(jnp.asarray(weights["fc.bias"], jnp.float32))

    def __call__(self, x: jax.Array, *, fc_bias: bool = False) -> tuple[jax.Array, jax.Array | None]:
        """Computes features and logits.

        Args:
          x: float32 (B, H, W, 3), (pixels - 128) / 128; 299 x 299 where scores shall compare, 75 x 75 at least.
          fc_bias: adds the bias of the last layer. The Inception score is made without it: the code that came with
            the graph (openai/improved-gan) multiplies the pooled features by the last layer's weights only.

        Returns:
          features float32 (B, dims), the spatial mean of the asked map, and logits float32 (B, 1008) or None.
        """
        features = jnp.zeros(())
        for stage in self.stages:
            x = self._run(STAGES[stage], x, "")
            if stage == self.dims:
                features = x.mean((1, 2))
        if not self.has_logits:
            return features, None
        logits = jnp.matmul(x.mean((1, 2)), self.fc_kernel[...], precision=PRECISION)
        return features, logits + self.fc_bias[...][None] if fc_bias else logits

    def _run(self, path: Path, x: jax.Array, prefix: str) -> jax.Array:
        for step in path:
            if isinstance(step, Conv):
                x = self.convs[prefix + step.name](x)
            elif isinstance(step, Fork):
                inner = _inside(prefix, step)
                x = jnp.concatenate([self._run(branch, x, inner) for branch in step.paths], axis=-1)
            else:
                x = _pool(x, step)
        return x


def _pool(x: jax.Array, pool: Pool) -> jax.Array:
    window, strides = (3, 3), (pool.stride, pool.stride)
    if pool.kind == "max":
        return nnx.max_pool(x, window, strides, pool.padding)
    return nnx.avg_pool(x, window, strides, pool.padding, count_include_pad=False)
