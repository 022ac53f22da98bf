"""The notebooks are in order, name what exists, and (slow) run from top to bottom, shrunk and without a network."""

import ast
import asyncio
import importlib.util
import json
import os
import re
import warnings
from pathlib import Path

import pytest

import jaxgan
from jaxgan import config as config_lib
from jaxgan import config_tree

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "notebooks"
NAMES = ("quickstart", "sagan_celeba", "cyclegan", "own_gan", "imagenet_tpu_pod")
MINUTES = 5  # that one may take in its shrunk form

# What each leaves behind, below the folder it works in: at least so many files of each pattern.
LEFT = {
    "quickstart": {"quickstart-small/samples/step_*.png": 3, "quickstart-small/report.html": 1, "**/morph.gif": 1},
    "sagan_celeba": {"sagan-recommended-drawn-small/real_beside_fake.png": 1, "**/samples/step_*.png": 6},
    "cyclegan": {"cyclegan-drawn-small/translated.png": 1, "**/samples/step_*.png": 4},
    "own_gan": {f"own-gan-small/{run}/samples/step_*.png": 2 for run in ("perceptrons", "dcgan", "losses", "classes")},
    "imagenet_tpu_pod": {"pod-small/packed/*": 2, "pod-small/devices-*/samples/step_*.png": 2},
}  # fmt: skip
PICTURES = {"quickstart": 7, "sagan_celeba": 5, "cyclegan": 7, "own_gan": 7, "imagenet_tpu_pod": 3}


def read(name):
    return json.loads((FOLDER / f"{name}.ipynb").read_text(encoding="utf-8"))


def sources(name, kind):
    return ["".join(cell["source"]) for cell in read(name)["cells"] if cell["cell_type"] == kind]


def without_magics(code):
    """IPython's own lines, such as `%pip install`, in Python's terms."""
    return re.sub(r"^(\s*)[%!].*$", r"\1pass", code, flags=re.MULTILINE)


def code_of(name):
    return "\n".join(without_magics(code) for code in sources(name, "code"))


def test_each_is_known_here():
    assert {path.stem for path in FOLDER.glob("*.ipynb")} == set(NAMES) == set(LEFT) == set(PICTURES)


@pytest.mark.parametrize("name", NAMES)
def test_is_a_clean_notebook_of_format_4_5(name):
    notebook = read(name)
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
    assert set(notebook) == {"cells", "metadata", "nbformat", "nbformat_minor"}
    assert notebook["metadata"]["kernelspec"]["name"] == "python3"
    slug = name.replace("_", "-")
    assert [cell["id"] for cell in notebook["cells"]] == [f"{slug}-{i:02}" for i in range(len(notebook["cells"]))]
    for cell in notebook["cells"]:
        assert "".join(cell["source"]).strip()
        if cell["cell_type"] == "code":
            assert cell["outputs"] == [] and cell["execution_count"] is None
        else:
            assert cell["cell_type"] == "markdown" and "outputs" not in cell


@pytest.mark.parametrize("name", NAMES)
def test_is_valid_by_the_schema(name):
    nbformat = pytest.importorskip("nbformat", reason="needs nbformat, which comes with requirements-dev.txt")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        nbformat.validate(nbformat.read(FOLDER / f"{name}.ipynb", as_version=4))


@pytest.mark.parametrize("name", NAMES)
def test_opens_on_colab(name):
    first, *_ = sources(name, "markdown")
    assert first.startswith("# ")
    address = f"https://colab.research.google.com/github/jaxgan/jaxgan/blob/main/notebooks/{name}.ipynb"
    assert f"(https://colab.research.google.com/assets/colab-badge.svg)]({address})" in first


def test_install_alike_and_on_colab_alone():
    install = set()
    for name in NAMES:
        cells = [cell for cell in read(name)["cells"] if "install" in cell["metadata"].get("tags", ())]
        assert len(cells) == 1, name
        first_code = next(cell for cell in read(name)["cells"] if cell["cell_type"] == "code")
        assert cells[0] == first_code, name
        install.add("".join(cells[0]["source"]))
    assert len(install) == 1
    (code,) = install
    condition, body = code.split("\n\n# Elsewhere")[0].split('if "google.colab" in sys.modules')
    assert "pip" not in condition and "git" not in condition
    assert all(not line or line.startswith("    ") for line in body.splitlines()[1:])
    assert "%pip install --quiet -r requirements.txt" in body and "jax[{extras}]" in body
    assert "pip" not in code.split("# Elsewhere")[1]
    for later in NAMES:
        assert not re.search(r"^\s*[%!]", "\n".join(sources(later, "code")[1:]), re.MULTILINE), later


@pytest.mark.parametrize("name", NAMES)
def test_code_compiles_and_chooses_its_size(name):
    for code in sources(name, "code"):
        ast.parse(without_magics(code))
    code = code_of(name)
    assert 'os.environ.get("JAXGAN_NOTEBOOK_SMALL") == "1"' in code
    assert 'device.platform in ("gpu", "tpu")' in code and "device_kind" in code


@pytest.mark.parametrize("name", NAMES)
def test_names_what_exists(name):
    tree = ast.parse(code_of(name))
    used = {
        node.attr for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "jaxgan"
    }  # fmt: skip
    used |= set(re.findall(r"`jaxgan\.(\w+)", "\n".join(sources(name, "markdown"))))
    assert used and used <= set(jaxgan.__all__), used - set(jaxgan.__all__)
    fields = config_tree.flatten(config_lib.Config())
    keys = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    groups = {field.partition(".")[0] for field in fields if "." in field}
    dotted = {key for key in keys if re.fullmatch(r"[a-z_]+\.[a-z_0-9]+", key) and key.partition(".")[0] in groups}
    assert dotted <= set(fields), dotted - set(fields)


@pytest.mark.parametrize("name", NAMES)
def test_fields_and_commands_in_the_text_exist(name):
    from jaxgan.__main__ import COMMANDS

    text, fields = "\n".join(sources(name, "markdown")), config_tree.flatten(config_lib.Config())
    for field in re.findall(r"--config\.([\w.]+)=", text):
        assert field in fields, field
    for command in re.findall(r"python -m jaxgan (\w+)", text):
        assert command in COMMANDS, command


@pytest.mark.parametrize("name", NAMES)
def test_links_lead_to_files(name):
    text = "\n".join(sources(name, "markdown"))
    for target in re.findall(r"\]\((?!http)([^)#]+)\)", text):
        assert (FOLDER / target).exists(), target
    for path in re.findall(r"\b(?:configs|benchmarks|docs|jaxgan)/[\w/]+\.(?:py|md)\b", text + code_of(name)):
        assert (ROOT / path).exists(), path


def test_no_machine_of_ours_is_named():
    for name in NAMES:
        assert not re.search(r"/work/|/root/|/home/", (FOLDER / f"{name}.ipynb").read_text(encoding="utf-8")), name


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_runs_from_top_to_bottom(name, tmp_path):
    for module in ("nbclient", "ipykernel"):
        if importlib.util.find_spec(module) is None:
            pytest.skip(f"executing notebooks needs {module}, which comes with requirements-dev.txt")
    for part in ("configs", "jaxgan", "requirements.txt"):
        (tmp_path / part).symlink_to(ROOT / part)
    executed = execute(name, tmp_path)
    for pattern, count in LEFT[name].items():
        found = list((tmp_path / "runs" / "notebooks").glob(pattern))
        assert len(found) >= count and all(path.is_dir() or path.stat().st_size for path in found), (pattern, found)
    shown = [output for cell in executed["cells"] for output in cell.get("outputs", ()) if "data" in output]
    images = [output for output in shown if {"image/png", "image/gif"} & set(output["data"])]
    assert len(images) >= PICTURES[name]


def execute(name, folder):
    """Runs a copy of the notebook in a kernel of this Python, in `folder`; returns it with its outputs.

    The copy has no network: every connection but those of this machine with itself would fail.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the libraries that talk to the kernel
        import nbformat
        from nbclient import NotebookClient
        from nbclient.exceptions import CellExecutionError

        notebook = nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)
        nothing = "http://127.0.0.1:9"
        environment = os.environ | {
            "JAXGAN_NOTEBOOK_SMALL": "1",
            "JAX_PLATFORMS": "cpu",
            "XLA_FLAGS": " ".join(flag for flag in os.environ["XLA_FLAGS"].split() if "device_count" not in flag),
            "HOME": str(folder),
            "http_proxy": nothing,
            "https_proxy": nothing,
        }
        client = NotebookClient(
            notebook,
            timeout=60 * MINUTES,
            startup_timeout=120,
            kernel_name="python3",
            resources={"metadata": {"path": str(folder)}},
        )
        try:
            asyncio.run(asyncio.wait_for(client.async_execute(env=environment), 60 * MINUTES))
        except CellExecutionError as error:
            pytest.fail(f"{name}: {error.ename}: {error.evalue}\n{str(error)[-3000:]}")
    return notebook
