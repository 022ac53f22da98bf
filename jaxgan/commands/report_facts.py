"""What the run is: the header, its settings, and the machine that it ran on."""

from __future__ import annotations

import datetime
import html
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax

from jaxgan import config_tree
from jaxgan.commands.report_page import Section, facts, note
from jaxgan.commands.report_records import read_metrics
from jaxgan.config import Config
from jaxgan.generation.run import Run

_VERSIONS = ("python", "jax", "flax")  # in the header; the others stand in the section on the environment


def header(workdir: Path, run: Run | None, config: Mapping[str, Any], now: datetime.datetime) -> str:
    """Returns what to know first of a run.

    Args:
      workdir: folder of the run.
      run: opened, or None where that is not possible (yet).
      config: of `config.json`.
      now: the time that the report states.
    """
    facts_of_run = read_object(workdir / "run.json")
    logged = [step for points in read_metrics(workdir).values() for step, _ in points[-1:]]
    total = config.get("total_steps")
    data = _mapping(facts_of_run.get("data"))
    devices = _mapping(facts_of_run.get("devices"))
    versions = _mapping(facts_of_run.get("versions"))
    reached = max(logged, default=0)
    pairs = [
        ("step of the weights", f"{run.step:,}" if run else "no checkpoint"),
        ("training", f"{reached:,} of {total:,} steps" if isinstance(total, int) else f"{reached:,} steps"),
        ("data", f"{_mapping(config.get('data')).get('source', '?')}: {_content(data)}"),
        ("image", "{} × {} × {}".format(*(data.get(name, "?") for name in ("height", "width", "channels")))),
        *_num_parameters(run),
        ("devices", f"{devices.get('count', '?')} × {devices.get('kind', '?')}"),
        ("versions", ", ".join(f"{name} {versions[name]}" for name in _VERSIONS if versions.get(name))),
        ("revision", facts_of_run.get("git_revision") or "unknown"),
        ("report written", now.strftime("%Y-%m-%d %H:%M %Z").strip()),
    ]  # fmt: skip
    return facts(pairs)


def settings(config: Mapping[str, Any]) -> Section:
    """All settings; those that differ from the defaults are marked and shown first."""
    defaults = config_tree.flatten(Config())
    flat = config_tree.flatten(config)
    changed = {name: value for name, value in flat.items() if name not in defaults or defaults[name] != value}
    body = f"<h3>Changed from the defaults</h3>{_rows(changed)}" if changed else note("All settings are the defaults.")
    body += f"<details><summary>All {len(flat)} settings</summary>{_rows(flat, marked=changed)}</details>"
    return Section("settings", "Settings", body)


def environment(workdir: Path) -> Section:
    """Versions, devices and data, as `run.json` has them."""
    tree = read_object(workdir / "run.json")
    if not tree:
        return Section("environment", "Environment", note("The run has no run.json."))
    flat = {name: value for name, value in config_tree.flatten(tree).items() if name != "data.class_names"}
    names = _mapping(tree.get("data")).get("class_names") or []
    listed = html.escape(", ".join(map(str, names)))
    classes = f"<details><summary>{len(names)} class names</summary><p>{listed}</p></details>"
    body = f"<details open><summary>run.json</summary>{_rows(flat)}</details>{classes if names else ''}"
    return Section("environment", "Environment", body)


def read_object(path: Path) -> dict[str, Any]:
    """Returns a JSON file's object; an empty one where it is absent or no object."""
    try:
        tree = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return tree if isinstance(tree, dict) else {}


def _rows(flat: Mapping[str, Any], marked: Mapping[str, Any] | None = None) -> str:
    rows = "".join(
        f'<tr{" class=changed" if marked and name in marked else ""}><th scope="row">'
        f'<code>{html.escape(name)}</code></th><td class="value"><code>{html.escape(_plain(value))}</code></td></tr>'
        for name, value in flat.items()
    )
    return f'<div class="scroll"><table><tbody>{rows}</tbody></table></div>'


def _content(data: Mapping[str, Any]) -> str:
    if data.get("num_images_b"):
        return f"{data.get('num_images', '?')} images of A, {data['num_images_b']} of B"
    return f"{data.get('num_images', '?')} images, {data.get('num_classes', '?')} classes"


def _plain(value: Any) -> str:
    return json.dumps(list(value) if isinstance(value, tuple) else value, ensure_ascii=False)


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _num_parameters(run: Run | None) -> list[tuple[str, str]]:
    """Returns a fact per network."""
    params = {name: run.nets[name].params for name in run.networks} if run else {}
    return [
        (f"parameters of {name}", f"{sum(leaf.size for leaf in jax.tree.leaves(tree)):,}")
        for name, tree in params.items()
    ]
