"""What the compiler is told, for each kind of device."""

from __future__ import annotations

import os

import jax

from jaxgan import target


def compiler_options() -> dict[str, str]:
    """Returns the `compiler_options` of `jax.jit` for the devices of this process.

    XLA hands convolutions on a CPU to the YNNPACK library by default (jaxlib 0.10 and 0.12). Its weight gradients are
    several times slower than XLA's own: the step of a 32x32 SAGAN took 12.0 s with it and 3.7 s without, on two cores.
    So only matrix products and sums go there; the sum of (64, 32, 32, 64) over all but its channels takes 1.3 ms there
    and 7.6 ms in XLA, and batch norm consists of such sums.
    """
    if target.platform() != "cpu":
        return {}
    return {"xla_cpu_experimental_ynn_fusion_type": "LIBRARY_FUSION_TYPE_DOT,LIBRARY_FUSION_TYPE_REDUCE"}


def use_compilation_cache() -> None:
    """Keeps compiled programs between starts, so that a resumed run does not compile again.

    They lie in `~/.cache/jaxgan/xla`; XDG_CACHE_HOME and JAX_COMPILATION_CACHE_DIR choose other places.
    """
    if not getattr(jax.config, "jax_compilation_cache_dir", None):  # set by JAX_COMPILATION_CACHE_DIR
        base = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
        jax.config.update("jax_compilation_cache_dir", os.path.join(base, "jaxgan", "xla"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
