"""Where the steps of a CPU find their memory."""

from __future__ import annotations

import ctypes

import jax

_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4  # of glibc's malloc.h


def reuse_freed_memory() -> None:
    """Lets each step on a CPU use the memory that the step before has freed; call it before JAX computes anything.

    XLA on a CPU allocates the temporaries of a program anew at each call. glibc by default asks the system for large
    blocks and returns them when they are freed, and the system hands out pages of zeros, one fault each: 72,000 in a
    step of `dcgan64` at batch 64, whose 7 % of CPU time docs/speed.md measures. Here the blocks stay in the heap of the
    main thread, and the programs run in that thread (as far as it starts them: their loops use all cores), because the
    heaps of other threads cannot hold large blocks. What is freed stays with the process until it ends.

    On accelerators, and with another C library than glibc, freed memory is left alone.
    """
    jax.config.update("jax_cpu_enable_async_dispatch", False)
    malloc_option = getattr(ctypes.CDLL(None), "mallopt", None)
    if jax.default_backend() == "cpu" and malloc_option is not None:
        malloc_option(_M_MMAP_MAX, 0)
        malloc_option(_M_TRIM_THRESHOLD, -1)
