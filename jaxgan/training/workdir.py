"""The folder of a run: `config.json` and `run.json`, and the check that it is this run's folder."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.metadata
import json
import os
import platform
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jax

from jaxgan import config_tree
from jaxgan.config import Config
from jaxgan.data.spec import DataSpec

_PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy", "grain", "clu", "jaxgan")


class WorkdirError(RuntimeError):
    """The workdir cannot hold this run; the message says why and what to do."""


def claim(workdir: Path, config: Config, data: DataSpec, *, accept_changes: bool, is_primary: bool) -> None:
    """Makes `workdir` this run's folder, or checks that it already is, and writes `config.json` and `run.json`.

    Args:
      workdir: created if absent.
      config: the resolved settings.
      data: what the data source holds.
      accept_changes: go on although settings or data differ from those of the run so far.
      is_primary: False on all processes but one: they check and write nothing.

    Raises:
      WorkdirError: not writable, not a jaxgan workdir, or (naming the fields) trained with other settings or data.
    """
    with writing(workdir):
        workdir.mkdir(parents=True, exist_ok=True)
        _check_same_run(workdir, config, data, accept_changes)
        if is_primary:
            write_json(workdir / "config.json", config_tree.to_dict(config))
            facts = describe_run(data)
            write_json(workdir / "run.json", facts | {"earlier": _earlier(workdir, facts)})


@contextlib.contextmanager
def writing(workdir: Path) -> Iterator[None]:
    """Turns what the operating system says about a folder that cannot be written into one sentence."""
    try:
        yield
    except OSError as error:
        raise WorkdirError(
            f"workdir {workdir} is not writable ({error.strerror or error}); choose another with --workdir."
        ) from error


def _check_same_run(workdir: Path, config: Config, data: DataSpec, accept_changes: bool) -> None:
    if not (workdir / "config.json").exists():
        if any((workdir / "checkpoints").glob("[0-9]*")):
            raise WorkdirError(
                f"{workdir} holds checkpoints but no config.json, so it is not a complete workdir of jaxgan; "
                "choose another with --workdir."
            )
        return
    try:
        old = config_tree.from_dict(json.loads((workdir / "config.json").read_text()))
    except (ValueError, AttributeError, RecursionError) as error:
        raise WorkdirError(
            f"{workdir / 'config.json'} is not a configuration of this version ({error}); choose another --workdir."
        ) from error
    changes = [
        f"config.{name} ({before!r} -> {after!r})"
        for name, (before, after) in config_tree.differences(old, config).items()
    ]
    changes += [f"data.{name} ({before!r} -> {after!r})" for name, before, after in _data_changes(workdir, data)]
    if changes and not accept_changes:
        raise WorkdirError(
            f"{workdir} was trained with other settings: {', '.join(changes)}; choose another --workdir, or pass "
            "--accept_config_change to go on with the new ones."
        )


def _data_changes(workdir: Path, data: DataSpec) -> list[tuple[str, Any, Any]]:
    try:
        old = dict(_old_facts(workdir)["data"])
    except (ValueError, KeyError, TypeError):
        return []
    new = describe_data(data)
    return [(name, old.get(name), new[name]) for name in ("num_images", "num_classes") if old.get(name) != new[name]]


def _earlier(workdir: Path, now: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Returns what other starts said of themselves: a run that is resumed may have seen several revisions and machines.

    Each stands there once, without the data, which are the same for all.
    """
    old = _old_facts(workdir)
    listed = old.pop("earlier", [])
    facts = [*(listed if isinstance(listed, list) else ()), old]
    starts = [_without_data(start) for start in facts if isinstance(start, dict)]
    return [start for start in starts if start and start != _without_data(now)]


def _without_data(facts: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in facts.items() if name != "data"}


def _old_facts(workdir: Path) -> dict[str, Any]:
    """Returns what `run.json` holds; nothing where it is absent or damaged, which is no reason not to go on."""
    try:
        return dict(json.loads((workdir / "run.json").read_text()))
    except (OSError, ValueError, TypeError, RecursionError):
        return {}


def describe_data(data: DataSpec) -> dict[str, Any]:
    """Returns the facts of the data as JSON-serialisable values."""
    return json.loads(json.dumps(dataclasses.asdict(data)))


def describe_run(data: DataSpec) -> dict[str, Any]:
    """Returns what a result depends on beside its configuration: revision, versions, devices, data."""
    devices = jax.devices()
    return {
        "git_revision": _git_revision(),
        "versions": {"python": platform.python_version()} | {name: _version(name) for name in _PACKAGES},
        "devices": {"kind": devices[0].device_kind, "count": len(devices), "processes": jax.process_count()},
        "platform": platform.platform(),
        "cpu_cores": _cpu_cores(),
        "data": describe_data(data),
    }


def write_json(path: Path, tree: Mapping[str, Any]) -> None:
    """Writes a JSON file atomically."""
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_text(json.dumps(tree, indent=2) + "\n")
    os.replace(temporary, path)


def _cpu_cores() -> int | None:
    """Returns how many cores this process may use, where the system tells."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _git_revision() -> str | None:
    """Revision of the code that runs, with "+changes" if its files differ from it; None outside of a checkout."""
    folder = Path(__file__).parent

    def git(*args: str) -> str:
        return subprocess.run(["git", "-C", str(folder), *args], capture_output=True, text=True, check=True).stdout

    try:
        return git("rev-parse", "HEAD").strip() + ("+changes" if git("status", "--porcelain", "--", ".") else "")
    except (OSError, subprocess.CalledProcessError):
        return None
