"""Requirements and lock files: every dependency has bounds and a reason, and the locks hold what they allow."""

import importlib.util
import re
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
LOCKS = {"3.11": "requirements-lock-py311.txt", "3.12": "requirements-lock-py312.txt"}
FILES = ("requirements.txt", "requirements-test.txt", "requirements-dev.txt", "requirements-benchmark.txt")


def lines(name: str) -> list[str]:
    """The lines of a file and of those that it includes, which name packages."""
    found = []
    for line in (ROOT / name).read_text().splitlines():
        if line.startswith("-r "):
            found += lines(line.removeprefix("-r ").strip())
        elif line.strip() and not line.startswith("#"):
            found.append(line)
    return found


def locked(name: str) -> dict[str, tuple[str, list[str]]]:
    """{package: (version, hashes)} of a lock file."""
    text = (ROOT / name).read_text().replace("\\\n", " ")
    found = {}
    for line in text.splitlines():
        if line.strip() and not line.lstrip().startswith("#"):
            match = re.fullmatch(r"([\w.\[\]-]+)==(\S+)\s+(?:;[^-]*)?((?:--hash=sha256:[0-9a-f]{64}\s*)+)", line)
            assert match, line
            package = canonicalize_name(match[1].partition("[")[0])
            assert package not in found
            found[package] = match[2], match[3].split()
    return found


@pytest.mark.parametrize("name", FILES)
def test_every_dependency_has_bounds_and_a_reason(name):
    for line in lines(name):
        requirement, _, reason = line.partition("  # ")
        operators = {specifier.operator for specifier in Requirement(requirement).specifier}
        assert operators >= {">=", "<"} or operators == {"=="}, line
        assert len(reason) > 9 or requirement.startswith("ruff"), line


def test_extras_and_the_build_have_bounds():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    extras = [line for extra in project["project"]["optional-dependencies"].values() for line in extra]
    for line in [*project["build-system"]["requires"], *extras]:
        requirement = Requirement(line)
        operators = {specifier.operator for specifier in requirement.specifier}
        assert requirement.name == "jax" or operators >= {">=", "<"}, line  # jax: by requirements.txt


@pytest.mark.parametrize("python", LOCKS)
def test_locks_hold_what_the_requirements_allow(python):
    environment = {**default_environment(), "python_version": python, "python_full_version": f"{python}.7"}
    packages = locked(LOCKS[python])
    for line in lines("requirements-dev.txt"):
        requirement = Requirement(line.partition("  # ")[0])
        if requirement.marker is None or requirement.marker.evaluate(environment):
            package = canonicalize_name(requirement.name)
            assert package in packages, f"{LOCKS[python]} lacks {line}; renew it as CONTRIBUTING.md says"
            version = packages[package][0]
            assert requirement.specifier.contains(version, prereleases=True), f"{package}=={version} against {line}"


@pytest.mark.parametrize("name", LOCKS.values())
def test_locks_are_hashed_and_name_no_index(name):
    assert "://" not in (ROOT / name).read_text() and "--index" not in (ROOT / name).read_text()
    packages = locked(name)
    assert len(packages) > 50 and all(len(set(hashes)) == len(hashes) > 0 for _, hashes in packages.values())


def audit():
    spec = importlib.util.spec_from_file_location("audit", ROOT / ".ci" / "audit.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_an_audit_that_nobody_answers_is_skipped():
    assert audit().verdict([]) == ("skipped: no advisory service answered", False)
    assert audit().verdict([{"name": "jax", "skip_reason": "not found"}])[0].startswith("skipped")
    assert audit().verdict([{"name": "jax", "version": "1", "vulns": []}]) == (
        "no known vulnerability in 1 packages (0 unknown)", False,
    )  # fmt: skip


@pytest.mark.parametrize(("wish", "status"), [("", 0), ("strict", 1)])
def test_a_known_vulnerability_is_told(monkeypatch, capsys, wish, status):
    module = audit()
    vulnerability = {"id": "CVE-1", "fix_versions": ["2"]}
    monkeypatch.setattr(module, "ask", lambda lock: [{"name": "x", "version": "1", "vulns": [vulnerability]}])
    monkeypatch.setenv("JAXGAN_AUDIT", wish)
    assert module.main("lock") == status
    assert "x 1: CVE-1, fixed in 2" in capsys.readouterr().out


def test_an_audit_that_fails_gives_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "executable", str(tmp_path / "absent"))
    assert audit().ask("lock") == []
