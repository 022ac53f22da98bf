"""Eight simulated CPU devices, strict promotion of ranks, warnings as errors, and a compilation cache for the suite."""

import os
import sys
import tempfile

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ["XLA_FLAGS"] = os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=8"

import jax
import pytest
from absl import flags

jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_compilation_cache_dir", os.path.join(tempfile.gettempdir(), "jaxgan-test-cache"))
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)


@pytest.fixture
def run_main(monkeypatch, capsys):
    """Runs `python -m jaxgan.main ARGS` within this process; returns (exit code, stderr, stdout)."""
    from jaxgan import main

    def forget_overrides():
        for name in [name for name in flags.FLAGS if name.startswith("config.")]:
            delattr(flags.FLAGS, name)  # config_flags defines one flag per override, at parsing
        flags.FLAGS.unparse_flags()

    def run(*args):
        argv = ["jaxgan.main", *map(str, args)]
        monkeypatch.setattr(sys, "argv", argv)  # where config_flags looks for overrides
        forget_overrides()
        code = 0
        try:
            main.main(main._parse_flags(argv))
        except SystemExit as stop:
            code = stop.code or 0
        finally:
            forget_overrides()
        captured = capsys.readouterr()
        return code, captured.err, captured.out

    return run
