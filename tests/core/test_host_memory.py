"""Steps on a CPU find the memory that steps before them have freed."""

import platform
import subprocess
import sys

import pytest

from tests.processes import ROOT, environment

# Each step writes 128 MiB.
PROGRAM = """
import resource, sys
import jax, jax.numpy as jnp
from jaxgan.core.host_memory import reuse_freed_memory
if sys.argv[1] == "reuse":
    reuse_freed_memory()
step = jax.jit(lambda x: (x + 1, x + 2))
x = jnp.ones((4096, 4096))
for _ in range(12):
    jax.block_until_ready(step(x))
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(12):
    jax.block_until_ready(step(x))
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries are left alone")
def test_pages_are_not_asked_for_again():
    faults = {}
    for how in ("reuse", "default"):
        command = [sys.executable, "-c", PROGRAM, how]
        done = subprocess.run(command, cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        faults[how] = int(done.stdout)
    block = 2**26 / 4096  # pages
    assert faults["default"] > 12 * block  # else this machine has nothing to gain, and the test no meaning
    # A step's output may be freed only after the next has begun, which then needs more blocks.
    assert faults["reuse"] < faults["default"] / 4
