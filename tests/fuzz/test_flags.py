"""Command lines of any kind: settings within the rules, or one sentence and exit status 2."""

import contextlib
import json
import subprocess
import sys

from hypothesis import strategies as st

from jaxgan import config_tree
from jaxgan.config import Config
from tests.fuzz.damage import COUNTS, examine
from tests.processes import ROOT, environment

FIELDS = sorted(config_tree.flatten(Config()))
OWN = [
    "config", "workdir", "dry_run", "mesh", "accept_config_change", "distributed", "nodistributed", "coordinator",
    "num_processes", "process_id", "start_timeout", "peer_timeout", "stopped_status",
]  # fmt: skip
NAMES = st.one_of(
    st.sampled_from(FIELDS).map("config.{}".format),
    st.sampled_from(sorted({field.partition(".")[0] for field in FIELDS})).map("config.{}".format),
    st.sampled_from(OWN),
    st.text("abcdefgmno_.-", max_size=12).map("config.{}".format),
    # Not absl's own, some of which run a debugger or read other flags from a file.
    st.text("xyz_.-", min_size=1, max_size=8),
)
VALUES = st.one_of(
    st.integers(-3, 10**30).map(str),
    st.floats().map(str),
    st.sampled_from(["", "true", "False", "1,2", "(1, 2)", "[", "'", "{}", "None", "digits", "1e999", "0x10", "nan,"]),
    st.text("a0:.,-é\n\"'\\", max_size=8),
)
FLAG = st.one_of(
    st.tuples(st.sampled_from(["--", "-"]), NAMES, st.just("="), VALUES).map("".join),
    NAMES.map("--{}".format),
)
GOOD = "--config=configs/digits.py"


@contextlib.contextmanager
def child():
    """A process that parses command lines; gives a function from arguments to (status, what was said)."""
    command = [sys.executable, "-m", "tests.fuzz.flags_child"]
    process = subprocess.Popen(
        command, cwd=ROOT, env=environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdin is not None and process.stdout is not None

    def parse(arguments):
        process.stdin.write(json.dumps(arguments) + "\n")
        process.stdin.flush()
        return json.loads(process.stdout.readline())

    try:
        yield parse
    finally:
        process.stdin.close()
        process.stdout.close()
        process.wait(30)


@COUNTS
def test_any_command_line(count):
    recipes = st.one_of(st.just(GOOD), st.text("a/.:é", max_size=6).map("--config={}".format))
    with child() as parse:
        assert parse([GOOD, "--config.batch_size=64"]) == [0, ""]

        @examine(count * 3, recipes, st.lists(FLAG, max_size=3))
        def check(recipe, flags):
            status, said = parse([recipe, *flags])
            assert (status, said) == (0, "") or status == 2, said
            if status:
                assert said.startswith("jaxgan: ") and said.count("\n") == 1 and len(said) < 3_000, said
