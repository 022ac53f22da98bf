"""Compares a lock file with the published advisories: `python .ci/audit.py LOCKFILE`.

Says in one line what was found, or that no advisory service answered. A known vulnerability ends with status 1 where
JAXGAN_AUDIT=strict is set; elsewhere it is a warning: an advisory of tomorrow must not turn a commit of today red.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

_LIMIT = 60  # seconds


def ask(lock: str) -> list[dict[str, Any]]:
    """Returns what pip-audit says of each package; nothing where it does not come to an end."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        command = [
            sys.executable,
            "-m",
            "pip_audit",
            "--disable-pip",
            "--require-hashes",
            "-r",
            lock,
            "--timeout",
            "10",
        ]
        command += ["--format", "json", "--output", str(report), "--progress-spinner", "off", "--cache-dir", folder]
        try:
            subprocess.run(command, timeout=_LIMIT, capture_output=True, check=False)
            return json.loads(report.read_text())["dependencies"]
        except (OSError, ValueError, KeyError, TypeError, subprocess.TimeoutExpired):
            return []


def verdict(packages: list[dict[str, Any]]) -> tuple[str, bool]:
    """Returns a line for people, and whether a vulnerability is known."""
    known = [package for package in packages if "vulns" in package]  # the service was asked and knew the package
    if not known:
        return "skipped: no advisory service answered", False
    found = [
        f"{package['name']} {package['version']}: {vulnerability['id']}, "
        f"fixed in {', '.join(vulnerability['fix_versions']) or 'no version yet'}"
        for package in known
        for vulnerability in package["vulns"]
    ]
    if not found:
        return f"no known vulnerability in {len(known)} packages ({len(packages) - len(known)} unknown)", False
    return f"WARNING: known vulnerabilities, renew the lock files: {'; '.join(found)}", True


def main(lock: str) -> int:
    line, is_vulnerable = verdict(ask(lock))
    print(line)
    return int(is_vulnerable and os.environ.get("JAXGAN_AUDIT") == "strict")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
