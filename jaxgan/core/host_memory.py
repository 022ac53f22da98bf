"""Where the steps of a CPU find their memory."""

from __future__ import annotations

import ctypes

import jax

_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4  # of glibc's malloc.h


def reuse_freed_memory() -> None:
    """Lets each step on a CPU use the memory that the step before has freed; call it before JAX computes anything.

    XLA on a CPU allocates the temporaries of a program anew at each call. glibc by default asks the system for large
    blocks and returns them when they are freed, and the system hands out pages of zeros, one fault each: 7 % of the CPU
    time of a DCGAN's step (docs/speed.md). Here the blocks stay in the heap of the calling thread, and programs start
    in that thread (their loops use all cores all the same), because the heaps of other threads cannot hold large
    blocks. What is freed stays with the process until it ends.

    On accelerators, and with another C library than glibc, malloc stays as it is.
    """
    jax.config.update("jax_cpu_enable_async_dispatch", False)
    malloc_option = getattr(ctypes.CDLL(None), "mallopt", None)
    if jax.default_backend() == "cpu" and malloc_option is not None:
        malloc_option(_M_MMAP_MAX, 0)
        malloc_option(_M_TRIM_THRESHOLD, -1)
