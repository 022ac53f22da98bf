"""Eight simulated CPU devices, cheap compilation, strict promotion of ranks, and a compilation cache for the suite."""

import os
import sys
import tempfile

os.environ.setdefault("JAX_PLATFORMS", "cpu")
# Most of the suite's time is XLA's; programs that run once or twice are not worth optimizing (half of the time). The
# jaxlib of Python 3.12 and later does not know the last flag, and aborts if it is given.
os.environ["XLA_FLAGS"] = (
    os.environ.get("XLA_FLAGS", "")
    + " --xla_force_host_platform_device_count=8 --xla_backend_optimization_level=0"
    + (" --xla_cpu_use_fusion_emitters=false" if sys.version_info < (3, 12) else "")
)

import jax
import pytest
from absl import flags

jax.config.update("jax_numpy_rank_promotion", "raise")
# One per worker of pytest-xdist: JAX does not write the entries of a cache atomically.
WORKER = os.environ.get("PYTEST_XDIST_WORKER", "main")
jax.config.update("jax_compilation_cache_dir", os.path.join(tempfile.gettempdir(), "jaxgan-test-cache", WORKER))
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)


# They take minutes; begun last, they would keep one worker busy while the others have nothing left to do.
LONG_FILES = {"test_interruption.py", "test_recipes.py", "test_loop.py", "test_step.py", "test_main.py"}


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: item.path.name not in LONG_FILES)  # stable: nothing else moves


def pytest_make_parametrize_id(config, val, argname):
    """Bytes name no test: gzip's hold the time, so that two workers would collect different tests."""
    return argname if isinstance(val, bytes) else None


@pytest.fixture(scope="module", autouse=True)
def _free_compiled_programs():
    """Programs of the file before are not needed again; kept, they grow to several gigabytes."""
    yield
    jax.clear_caches()


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
