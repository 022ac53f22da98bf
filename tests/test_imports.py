"""Imports run downwards only and in no circles: the floors of the house, read from the sources.

A module may import modules of its own wing and of lower floors; some wings may import less (ONLY). Imports inside
functions and under TYPE_CHECKING count like all others: they too say what a module knows.
"""

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

FLOORS = {
    "doors": 8,  # jaxgan/main.py and jaxgan/__main__.py
    "commands": 7,
    "training": 6,
    "evaluation": 5,
    "generation": 4,
    "methods": 3,
    "models": 2,
    "core": 2,
    "layers": 1,
    "objectives": 1,
    "data": 1,
    "config": 1,
    "target": 0,  # jaxgan/target.py: the kind of device that is compiled for
    "config_tree": 2,
    "config_rules": 3,
    "recipe": 3,
    "api": 7,  # jaxgan/api.py: what the library does
    "root": 9,  # jaxgan/__init__.py: names of the floors below, each imported when it is used
}
ONLY = {"models": {"layers"}, "core": {"config", "target"}, "data": {"config"}}


def wing(module: str) -> str:
    """Returns the wing of `jaxgan.WING...`; a new folder or file at the top must be given a floor here."""
    parts = module.split(".")
    if len(parts) == 1:
        return "root"
    return "doors" if parts[1] in ("main", "__main__") else parts[1]


def may_import(importer: str, imported: str) -> bool:
    if importer == imported:
        return True
    if importer in ONLY:
        return imported in ONLY[importer]
    return FLOORS[imported] < FLOORS[importer]


def imports(module: str, source: str, is_package: bool, known: set[str]) -> Iterator[str]:
    """Yields the jaxgan modules that a source imports, submodules imported by `from package import name` included."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.split(".")[0] == "jaxgan")
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                package = module.split(".") if is_package else module.split(".")[:-1]
                package = package[: len(package) + 1 - node.level]  # one dot is the package itself
                base = ".".join([*package, *([node.module] if node.module else [])])
            if base.split(".")[0] == "jaxgan":
                names = (f"{base}.{alias.name}" for alias in node.names)
                yield from (name if name in known else base for name in names)


def find_circle(graph: Mapping[str, set[str]]) -> list[str]:
    """Returns the modules of one circle of imports, or an empty list."""
    done: set[str] = set()

    def visit(module: str, path: list[str]) -> list[str]:
        if module in path:
            return [*path[path.index(module) :], module]
        if module in done:
            return []
        for imported in sorted(graph.get(module, ())):
            if circle := visit(imported, [*path, module]):
                return circle
        done.add(module)
        return []

    return next(filter(None, (visit(module, []) for module in sorted(graph))), [])


def problems(files: Mapping[str, str]) -> list[str]:
    """Checks sources given as {"jaxgan/layers/conv.py": text}; returns one sentence for each offence."""
    modules = {path.removesuffix(".py").removesuffix("/__init__").replace("/", "."): path for path in files}
    graph = {
        module: set(imports(module, files[path], path.endswith("__init__.py"), set(modules)))
        for module, path in modules.items()
    }
    homeless = [f"{module} stands on no floor" for module in graph if wing(module) not in FLOORS]
    upward = [
        f"{module} must not import {imported}"
        for module, found in graph.items()
        for imported in sorted(found)
        if not homeless and not may_import(wing(module), wing(imported))
    ]
    circle = find_circle(graph)
    return homeless + upward + ([f"circle: {' -> '.join(circle)}"] if circle else [])


def config_problems(files: Mapping[str, str]) -> list[str]:
    """Recipes know the schema of the settings and nothing else of jaxgan."""
    return [
        f"{path} must not import {imported}"
        for path, source in files.items()
        for imported in imports("configs", source, False, {"jaxgan.config"})
        if imported != "jaxgan.config"
    ]


def read(folder: str) -> dict[str, str]:
    return {str(path.relative_to(ROOT).as_posix()): path.read_text() for path in (ROOT / folder).rglob("*.py")}


def test_the_package_imports_downwards_and_in_no_circles():
    files = read("jaxgan")
    assert "jaxgan/config.py" in files and len(files) > 10
    assert not problems(files)


def test_recipes_import_the_schema_only():
    assert not config_problems(read("configs"))


HOUSE = {
    "jaxgan/__init__.py": "__version__ = '1'\nfrom jaxgan.methods.base import Method",
    "jaxgan/__main__.py": "from jaxgan import commands, main",
    "jaxgan/main.py": "import jaxgan.training.loop",
    "jaxgan/commands/__init__.py": "",
    "jaxgan/training/loop.py": "from jaxgan.methods import base\nfrom jaxgan.data.source import x",
    "jaxgan/methods/base.py": "import numpy\nfrom jaxgan.models.resnet import G\nfrom jaxgan.core import rng",
    "jaxgan/models/resnet.py": "from jaxgan.layers.conv import Conv",
    "jaxgan/core/rng.py": "from jaxgan.config import Config",
    "jaxgan/data/source.py": "from . import errors\nfrom ..config import Config",
    "jaxgan/data/errors.py": "",
    "jaxgan/layers/__init__.py": "",
    "jaxgan/layers/conv.py": "from jaxgan.layers import init",
    "jaxgan/layers/init.py": "",
    "jaxgan/config.py": "import dataclasses",
}


def test_a_sound_house_has_no_problems():
    assert problems(HOUSE) == []
    assert problems(HOUSE | {"jaxgan/layers/__init__.py": "from . import conv\nfrom .init import x"}) == []


@pytest.mark.parametrize(
    ("path", "source", "offence"),
    [
        (
            "jaxgan/methods/base.py",
            "import jaxgan.training.loop",
            "jaxgan.methods.base must not import jaxgan.training",
        ),
        ("jaxgan/models/resnet.py", "from jaxgan.core import rng", "must not import jaxgan.core.rng"),
        ("jaxgan/models/resnet.py", "from jaxgan.config import Config", "must not import jaxgan.config"),
        ("jaxgan/core/rng.py", "def f():\n    from jaxgan.layers import conv", "must not import jaxgan.layers.conv"),
        ("jaxgan/layers/init.py", "from jaxgan import config", "must not import jaxgan.config"),
        ("jaxgan/layers/init.py", "from ..data import source", "must not import jaxgan.data.source"),
        ("jaxgan/layers/__init__.py", "from ..config import Config", "must not import jaxgan.config"),
        ("jaxgan/objectives/losses.py", "import jaxgan.layers.init as i", "must not import jaxgan.layers.init"),
        ("jaxgan/data/errors.py", "from jaxgan.core import rng", "must not import jaxgan.core.rng"),
        ("jaxgan/config.py", "import jaxgan.data", "must not import jaxgan.data"),
        ("jaxgan/main.py", "from jaxgan import __version__", "jaxgan.main must not import jaxgan"),
        ("jaxgan/layers/init.py", "from .conv import Conv", "jaxgan.layers.conv -> jaxgan.layers.init -> jaxgan.lay"),
        ("jaxgan/helpers.py", "", "jaxgan.helpers stands on no floor"),
    ],
)
def test_each_offence_is_found(path, source, offence):
    found = problems(HOUSE | {path: source})
    assert any(offence in problem for problem in found)


def test_a_recipe_that_knows_more_is_found():
    good = {"configs/a.py": "from jaxgan import config\nfrom jaxgan.config import default\nimport ml_collections"}
    assert config_problems(good) == []
    assert config_problems({"configs/a.py": "from jaxgan.models import resnet"})
    assert config_problems({"configs/a.py": "import jaxgan"})
