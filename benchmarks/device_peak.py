"""Peak arithmetic rates of devices, the 100 % of a share of peak."""

from __future__ import annotations

import time

import jax
import jax.numpy as jnp

# TFLOP/s, dense (no sparsity), at boost clock: (float32, TF32, bfloat16); None = not offered. A device has the row of
# the first name that its `device_kind` contains. Sources: NVIDIA's data sheets of each board, whose tensor core rates
# with sparsity are twice these, and Google Cloud's "TPU versions". A TPU's float32 convolutions run as bfloat16 passes.
_TFLOPS: tuple[tuple[str, tuple[float | None, float | None, float | None]], ...] = (
    ("H200 NVL", (60.0, 417.5, 835.5)),
    ("H200", (67.0, 494.5, 989.5)),
    ("H100 PCIe", (51.0, 378.0, 756.5)),
    ("H100 NVL", (60.0, 417.5, 835.5)),
    ("H100", (67.0, 494.5, 989.5)),
    ("A100", (19.5, 156.0, 312.0)),
    ("V100-PCIE", (14.0, None, None)),
    ("V100", (15.7, None, None)),
    ("T4", (8.1, None, None)),
    ("TPU v6", (None, None, 918.0)),
    ("TPU v5 lite", (None, None, 197.0)),
    ("TPU v5e", (None, None, 197.0)),
    ("TPU v5", (None, None, 459.0)),
    ("TPU v4", (None, None, 275.0)),
)


def listed_peak(device_kind: str, dtype: str, *, tf32: bool) -> float | None:
    """Returns FLOP/s of one device from the table, or None where it has no such entry.

    Args:
      device_kind: as JAX names it, such as "NVIDIA H100 80GB HBM3".
      dtype: float32 | bfloat16.
      tf32: whether float32 multiplications may run in TF32; without effect where there is none.
    """
    for name, (float32, tensor_float32, bfloat16) in _TFLOPS:
        if name in device_kind:
            if dtype == "bfloat16":
                tflops = bfloat16
            elif float32 is None:
                tflops = bfloat16
            else:
                tflops = (tensor_float32 if tf32 else None) or float32
            return tflops * 1e12 if tflops else None
    return None


def measured_peak(size: int = 2048, repeats: int = 5) -> float:
    """Returns FLOP/s of the fastest of `repeats` products of two float32 (size, size) matrices on JAX's first device.

    A stand-in where no data sheet gives a rate, as for the CPU cores that this process may use. It is what one library
    call reaches, not the limit of the hardware.
    """
    with jax.default_matmul_precision("highest"):
        matmul = jax.jit(jnp.matmul)
        a = jax.random.normal(jax.random.key(0), (size, size))
        jax.block_until_ready(matmul(a, a))
        seconds = []
        for _ in range(repeats):
            start = time.perf_counter()
            jax.block_until_ready(matmul(a, a))
            seconds.append(time.perf_counter() - start)
    return 2.0 * size**3 / min(seconds)
