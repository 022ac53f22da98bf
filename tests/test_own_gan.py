"""The guide to own GANs runs as it stands, only shorter; so does `jaxgan.train` with what the guide mentions."""

import json
import re
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import jaxgan
from jaxgan.config import ConfigError
from jaxgan.evaluation.errors import EvaluationError

GUIDE = Path(__file__).parent.parent / "docs" / "own_gan.md"
IMAGES = np.random.default_rng(0).integers(0, 256, (40, 8, 8, 1), np.uint8)


def test_the_guide_runs(tmp_path, monkeypatch):
    code = "\n".join(re.findall(r"```python\n(.*?)```", GUIDE.read_text(), re.S))
    assert len([line for line in code.splitlines() if line.strip()]) <= 60
    for number, fewer in {"total_steps=2_000": 30, "num_samples=1_000": 100, "batch_size=64": 16}.items():
        assert number in code
        code = code.replace(number, f"{number.split('=')[0]}={fewer}")
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    exec(compile(code, str(GUIDE), "exec"), names)
    assert names["sevens"].shape == (16, 8, 8, 1) and np.abs(names["sevens"]).max() <= 1
    assert 0 <= names["scores"].values["cas"] <= 1
    logged = [json.loads(line) for line in (tmp_path / "runs/own/metrics.jsonl").read_text().splitlines()]
    found = {name for line in logged for name in line}
    assert {"train/g_in_range", "train/g_feature_matching", "train/d_auxiliary_classifier", "train/penalty"} <= found
    # "called again, it goes on": nothing is left to be trained, and the same weights come back.
    config = jaxgan.Config(total_steps=30, batch_size=16, log=jaxgan.LogConfig(epochs=True))
    again = jaxgan.train(config, "runs/own", method=names["method"], data=(names["images"], names["labels"]))
    np.testing.assert_array_equal(again.sample(16, class_id=7), names["sevens"])


class G(nnx.Module):
    def __init__(self, rngs):
        self.out = nnx.Linear(4, 64, rngs=rngs)

    def __call__(self, z):
        return jnp.tanh(self.out(z)).reshape(-1, 8, 8, 1)


class D(nnx.Module):
    def __init__(self, rngs):
        self.out = nnx.Linear(64, 1, rngs=rngs)

    def __call__(self, images):
        return self.out(images.reshape(-1, 64))[:, 0]


def train(folder, config=None, data=IMAGES, **fields):
    method = jaxgan.Adversarial(generator=G, discriminator=D, latent_dim=4, **fields)
    config = config or jaxgan.Config(
        total_steps=2, batch_size=8, sample=jaxgan.SampleConfig(rows=2, columns=2), log=jaxgan.LogConfig(epochs=True)
    )
    return jaxgan.train(config, folder, method=method, data=data)


def test_the_settings_follow_from_method_and_data(tmp_path):
    """8 x 8 pixels and 3 D steps are said once; an epoch of 40 images ends within the 2 * 24."""
    run = train(tmp_path, num_d_steps=3)
    assert run.config.num_d_steps == 3 and run.config.data.height_width == (8, 8) and run.config.data.channels == 1
    assert run.step == 2 and run.sample(3).shape == (3, 8, 8, 1)
    logged = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert any("epoch/d_grad_norm" in line for line in logged)
    with pytest.raises(ConfigError, match=r"num_d_steps \(=2\) must be what the method says \(=3\)"):
        train(tmp_path / "b", jaxgan.Config(num_d_steps=2, batch_size=8), num_d_steps=3)


def test_what_cannot_be_evaluated_is_said(tmp_path):
    run = train(tmp_path)
    with pytest.raises(EvaluationError, match="give the real images as `data`"):
        jaxgan.evaluate(run, num_samples=8)
    with pytest.raises(EvaluationError, match="metric is not a setting; known: .*metrics"):
        jaxgan.evaluate(run, IMAGES, metric="fid")


def test_an_extractor_of_ones_own_scores(tmp_path):
    run = train(tmp_path)

    class Pixels:
        name = "four pixels"

        def __call__(self, images):
            from jaxgan.evaluation.features import Features

            return Features(images[:, ::4, ::4, 0].reshape(len(images), -1).astype(np.float32), None)

    scores = jaxgan.evaluate(run, IMAGES, num_samples=40, extractor=Pixels(), show=False)
    assert scores.values["fid"] > 0 and scores.protocol.num_reference == 40


def test_recipes_load_with_overrides_and_arguments():
    recipe = GUIDE.parent.parent / "configs" / "digits.py"
    config = jaxgan.load_recipe(recipe, {"total_steps": 7, "model.g_widths": (8, 8, 8)})
    assert config.total_steps == 7 and config.model.g_widths == (8, 8, 8) and config.batch_size == 64
    with pytest.raises(ConfigError, match="total_step .*cannot be set"):
        jaxgan.load_recipe(recipe, {"total_step": 7})


def test_the_names_exist_and_are_imported_late():
    assert all(getattr(jaxgan, name) is not None for name in jaxgan.__all__)
    assert set(jaxgan.__all__) <= set(dir(jaxgan))
    with pytest.raises(AttributeError, match="no attribute 'trian'"):
        _ = jaxgan.trian
