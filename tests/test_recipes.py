"""Every recipe loads, says where it comes from, and trains two steps in a shrunk form, through `main`."""

import dataclasses
import importlib.util
import re
from pathlib import Path

import jax
import numpy as np
import pytest
from flax import nnx
from PIL import Image

from jaxgan import config_rules, config_tree, main
from jaxgan.core.checkpoint import Checkpointer
from jaxgan.layers.attention import SelfAttention
from jaxgan.methods.registry import build_networks

ROOT = Path(__file__).parent.parent
RECIPES = sorted((ROOT / "configs").glob("*.py"))
NAMES = {
    "digits", "gan_mnist", "dcgan_mnist", "sagan_mnist", "dcgan_celeba", "sagan_celeba", "sagan_celeba_nonlocal",
    "sagan_lsun_church_nonlocal", "sagan_imagenet", "sagan_imagenet_nnabla", "sagan_cifar10", "sngan_cifar10",
    "wgan_gp_cifar10", "cyclegan_maps", "cyclegan_horse2zebra", "cyclegan_cityscapes", "pix2pix_maps",
}  # fmt: skip


def load(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module, config_tree.from_dict(module.get_config().to_dict())


def test_none_is_missing():
    assert {path.stem for path in RECIPES} == NAMES


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_recipe_validates_and_documents_itself(path):
    module, config = load(path)
    many = config.batch_size > 1  # CycleGAN and pix2pix are published with batches of one, hence for one device
    config_rules.validate(config, num_devices=8 if many else 1, num_processes=2 if many else 1)
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


@pytest.fixture(scope="module")
def domains(tmp_path_factory):
    """Four noisy pictures of each of two domains, and the same side by side."""
    folder, rng = tmp_path_factory.mktemp("domains"), np.random.default_rng(0)
    for name, shape in {"trainA": (96, 96, 3), "trainB": (96, 96, 3), "train": (96, 192, 3)}.items():
        (folder / name).mkdir()
        for i in range(4):
            Image.fromarray(rng.integers(0, 256, shape, np.uint8)).save(folder / name / f"{i}.png", compress_level=1)
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
    if config.method.name != "adversarial":
        overrides |= {"batch_size": 2, "model.g_channels": 4, "model.d_channels": 4, "data.resolution": 32}
        overrides |= {"data.crop": "random:36"} if config.data.crop.startswith("random") else {"data.crop": "center:32"}
        overrides |= {"model.num_res_blocks": 1} if config.model.name == "cyclegan" else {}
    if config.model.name in ("mlp", "cyclegan", "unet"):
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


# Recipes whose networks and losses another one has as well.
TWINS = {
    "cyclegan_horse2zebra",
    "cyclegan_cityscapes",
    "pix2pix_maps",
    "dcgan_celeba",
    "sagan_imagenet_nnabla",
    "sagan_celeba_nonlocal",
    "sagan_lsun_church_nonlocal",
    "sagan_celeba",
    "sagan_imagenet",
    "wgan_gp_cifar10",
}
EACH = [pytest.param(path, marks=[pytest.mark.slow] if path.stem in TWINS else []) for path in RECIPES]


@pytest.mark.parametrize("path", EACH, ids=lambda path: path.stem)
def test_a_recipe_trains_two_steps(path, pictures, domains, run_main, tmp_path):
    _, config = load(path)
    jax.config.update("jax_disable_most_optimizations", True)
    overrides = shrunk(config)
    if config.method.name != "adversarial":
        kind, _, split = config.data.source.partition(":datasets/maps")
        overrides.append(f"--config.data.source={kind.partition(':')[0]}:{domains}{split}")
    elif path.stem != "digits":
        overrides.append(f"--config.data.source=folder:{pictures}")
    try:
        code, err, _ = run_main(f"--config={path}", *overrides, f"--workdir={tmp_path}")
    finally:
        jax.config.update("jax_disable_most_optimizations", False)
    assert code == 0 and "done: 2 steps" in err, err
    assert Checkpointer(tmp_path / "checkpoints").steps() == [2]
    assert (tmp_path / "samples" / "step_00000002.png").stat().st_size > 100


NONLOCAL = {"full": -1, "span0": 0, "span1": 1, "span2": 2, "span3": 3, "span4": 4}


def test_the_variants_of_non_local_sagan_differ_in_their_mask_only():
    module, default = load(ROOT / "configs" / "sagan_celeba_nonlocal.py")
    assert default.model.attention_span == 3
    for variant, span in NONLOCAL.items():
        config = config_tree.from_dict(module.get_config(variant).to_dict())
        assert config == dataclasses.replace(default, model=dataclasses.replace(default.model, attention_span=span))
        for build in build_networks(config, num_classes=0):
            network = nnx.eval_shape(lambda build=build: build(nnx.Rngs(0)))
            spans = [node.span for _, node in nnx.iter_graph(network) if isinstance(node, SelfAttention)]
            assert spans == [span, span]


def test_the_church_recipe_is_the_one_of_celeba_with_other_data():
    celeba, _ = load(ROOT / "configs" / "sagan_celeba_nonlocal.py")
    church, default = load(ROOT / "configs" / "sagan_lsun_church_nonlocal.py")
    assert (default.data.source, default.data.crop) == ("tfds:lsun/church_outdoor:train", "none")
    for arguments in [(), *((variant,) for variant in NONLOCAL)]:
        one, other = (config_tree.from_dict(recipe.get_config(*arguments).to_dict()) for recipe in (celeba, church))
        assert set(config_tree.differences(one, other)) == {"data.source", "data.crop"}


@pytest.mark.parametrize(
    ("variant", "near"), [("span9", "did you mean span4 or span3?"), ("ful", "did you mean full?"), ("", "choose one")]
)
def test_an_unknown_variant(run_main, variant, near):
    code, err, _ = run_main(f"--config={ROOT / 'configs' / 'sagan_celeba_nonlocal.py'}:{variant}", "--dry_run")
    assert code == 2 and "Traceback" not in err
    assert f"the variant '{variant}' must be one of full, span0, span1, span2, span3, span4; {near}" in err


def test_a_recipe_without_variants(run_main):
    code, err, _ = run_main(f"--config={ROOT / 'configs' / 'digits.py'}:span0")
    assert code == 2 and "digits.py:span0: it fails with TypeError: get_config()" in err and "Traceback" not in err


@pytest.mark.parametrize(
    ("recipe", "folder"),
    [
        ("digits.py", "digits"),
        ("sagan_celeba_nonlocal.py", "sagan_celeba_nonlocal"),
        ("sagan_celeba_nonlocal.py:span0", "sagan_celeba_nonlocal_span0"),
        ("sagan_lsun_church_nonlocal.py:full", "sagan_lsun_church_nonlocal_full"),
    ],
)
def test_every_variant_has_a_folder_of_its_own(run_main, monkeypatch, recipe, folder):
    found = []
    monkeypatch.setattr(main, "_train", lambda config, workdir: found.append(workdir))
    code, err, _ = run_main(f"--config={ROOT / 'configs' / recipe}")
    assert code == 0, err
    assert found == [Path("runs") / folder]


def test_the_folder_of_a_variant_lies_in_runs_whatever_the_variant_is_called(run_main, monkeypatch, tmp_path):
    found = []
    monkeypatch.setattr(main, "_train", lambda config, workdir: found.append(workdir))
    recipe = tmp_path / "mine.py"
    recipe.write_text("from jaxgan import config\n\n\ndef get_config(variant):\n    return config.default()\n")
    code, err, _ = run_main(f"--config={recipe}:../a/lr=0.1")
    assert code == 0, err
    assert found == [Path("runs") / "mine_.._a_lr=0.1"]
