"""Every recipe loads, says where it comes from, and trains two steps in a shrunk form, through `main`."""

import importlib.util
import re
from pathlib import Path

import jax
import numpy as np
import pytest
from PIL import Image

from jaxgan import config as config_lib
from jaxgan import config_rules
from jaxgan.core.checkpoint import Checkpointer

ROOT = Path(__file__).parent.parent
RECIPES = sorted((ROOT / "configs").glob("*.py"))
NAMES = {
    "digits", "gan_mnist", "dcgan_mnist", "dcgan_celeba", "sagan_celeba", "sagan_celeba_nonlocal",
    "sagan_lsun_church_nonlocal", "sagan_imagenet", "sagan_imagenet_nnabla", "sagan_cifar10", "sngan_cifar10",
    "wgan_gp_cifar10",
}  # fmt: skip


def load(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module, config_lib.from_dict(module.get_config().to_dict())


def test_none_is_missing():
    assert {path.stem for path in RECIPES} == NAMES


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_recipe_validates_and_documents_itself(path):
    module, config = load(path)
    config_rules.validate(config, num_devices=8, num_processes=2)
    for heading in ("Paper:", "Command:", "Hardware:", "Measured:"):
        assert heading in module.__doc__
    assert re.search(rf"python -m jaxgan\.main --config=configs/{path.name}", module.__doc__)
    assert config.data.crop == "none" or config.data.source.split(":")[1:2] != ["celeb_a"] or "160" in config.data.crop


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Sixteen noisy pictures in each of eight class folders; larger than any crop."""
    folder, rng = tmp_path_factory.mktemp("pictures"), np.random.default_rng(0)
    for label in range(8):
        (folder / f"class{label}").mkdir()
        for i in range(2):
            image = Image.fromarray(rng.integers(0, 256, (176, 164, 3), np.uint8))
            image.save(folder / f"class{label}" / f"{i}.png", compress_level=1)
    return folder


def shrunk(config) -> list[str]:
    """Overrides that keep a recipe's kind, loss, attention and schedule, at a fraction of its size."""
    overrides = {
        "batch_size": 8,
        "total_steps": 2,
        "sample.rows": 2,
        "sample.columns": 2,
        "checkpoint.every_steps": 2,
        "mesh.data": 1,  # a program for eight devices takes several times as long to compile
    }
    if config.num_d_steps > 1:
        overrides["num_d_steps"] = 2
    if config.model.name == "mlp":
        return [f"--config.{name}={value}" for name, value in overrides.items()]
    model = config.model
    for network in ("g", "d"):
        if widths := getattr(model, f"{network}_widths"):
            overrides[f"model.{network}_widths"] = ",".join("8" for _ in widths)
        overrides[f"model.{network}_channels"] = 8
    if config.data.resolution == 128:  # two levels fewer; attention two levels lower
        overrides["data.resolution"] = 32
        overrides["model.attention_resolutions"] = ",".join(str(r // 4) for r in model.attention_resolutions)
    return [f"--config.{name}={value}" for name, value in overrides.items()]


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_recipe_trains_two_steps(path, pictures, run_main, tmp_path):
    _, config = load(path)
    jax.config.update("jax_disable_most_optimizations", True)
    overrides = shrunk(config)
    if path.stem != "digits":
        overrides.append(f"--config.data.source=folder:{pictures}")
    try:
        code, err, _ = run_main(f"--config={path}", *overrides, f"--workdir={tmp_path}")
    finally:
        jax.config.update("jax_disable_most_optimizations", False)
    assert code == 0 and "done: 2 steps" in err, err
    assert Checkpointer(tmp_path / "checkpoints").steps() == [2]
    assert (tmp_path / "samples" / "step_00000002.png").stat().st_size > 100
