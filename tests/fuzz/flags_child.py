"""Reads command lines (JSON lists) and prints what `jaxgan.main` makes of each: its exit status and what it said.

Flags are parsed once per process, so each command line gets a fork of this one, which has imported everything.
"""

import json
import os
import sys
import tempfile

from jaxgan import config_rules, config_tree, main
from jaxgan.config import ConfigError


def obey(argv: list[str]) -> None:
    sys.argv = argv
    main._parse_flags(argv)
    if main._CONFIG.value is None:
        main._fail("--config is missing.")
    try:
        config_rules.validate(config_tree.from_dict(main._CONFIG.value.to_dict()))
    except ConfigError as error:
        main._fail(str(error))


for line in sys.stdin:
    with tempfile.TemporaryFile("w+") as said:
        if not (child := os.fork()):
            os.dup2(said.fileno(), 1)
            os.dup2(said.fileno(), 2)
            status = 0
            try:
                obey(["jaxgan", *json.loads(line)])
            except SystemExit as end:
                status = end.code
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)  # an orderly exit of a fork takes half a second
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        said.seek(0)
        print(json.dumps([status, said.read()]), flush=True)
