"""The comparison of masks: its settings against the recipe, its table in closed form, and tiny runs of it."""

import dataclasses
import functools
import json
import re
import shlex
import types
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks import nonlocal_comparison, nonlocal_table
from benchmarks.nonlocal_comparison import RECIPE, resized, settings
from jaxgan import config_rules, config_tree
from jaxgan.config import ConfigError
from jaxgan.evaluation.errors import EvaluationError
from jaxgan.evaluation.features import CallableExtractor
from jaxgan.evaluation.in_training import TrainingEvaluator
from jaxgan.evaluation.protocol import Protocol

CELEBA = config_tree.from_dict(RECIPE["get_config"]("span3").to_dict())
RUN = {
    "git_revision": "0123456789abcdef",
    "devices": {"kind": "cpu", "count": 1},
    "versions": {"python": "3.11.7", "jax": "0.10.2"},
    "platform": "Linux-6.1-x86_64",
    "data": {"num_images": 1482},
}
PROTOCOL = Protocol(
    extractor="inception-x", dims=64, num_samples=10, num_reference=20, weights="raw", bn="running", resizer="tf1"
)


def parse(*flags):
    return nonlocal_comparison._parser().parse_args(["--source=folder:x", *flags])


def write_workdir(out, variant, seed, fids, protocol=PROTOCOL, run=RUN, **changes):
    """The files that a finished run leaves, without its checkpoints."""
    config = dataclasses.replace(settings(variant, seed, parse("--steps=4")), **changes)
    workdir = out / f"{variant}_seed{seed}"
    workdir.mkdir(parents=True)
    (workdir / "config.json").write_text(json.dumps(config_tree.to_dict(config)))
    (workdir / "run.json").write_text(json.dumps(run))
    lines = [json.dumps({"step": step, "fid": fid, "protocol": str(protocol)}) for step, fid in fids.items()]
    (workdir / "evaluations.jsonl").write_text("".join(line + "\n" for line in lines))


def test_at_64_pixels_and_full_width_it_is_the_recipe():
    assert resized(CELEBA, 64, 1.0) == CELEBA
    for variant, span in RECIPE["SPANS"].items():
        config = settings(variant, 7, parse())
        same = dataclasses.replace(CELEBA.data, source="folder:x", crop="center")
        changes = config_tree.differences(dataclasses.replace(CELEBA, data=same), config)
        assert {name: new for name, (_, new) in changes.items() if name != "model.attention_span"} == {"seed": 7}
        assert config.model.attention_span == span


@pytest.mark.parametrize(
    ("resolution", "scale", "widths", "maps"),
    [
        (32, 0.5, (32, 64, 128), (8, 16)),
        (64, 0.125, (8, 16, 32, 64), (16, 32)),
        (128, 1.0, (64, 128, 256, 512, 1024), (32, 64)),
    ],
)
def test_smaller_and_larger_networks(resolution, scale, widths, maps):
    config = resized(CELEBA, resolution, scale)
    config_rules.validate(config, num_devices=1, num_processes=1)
    assert (config.model.d_widths, config.model.g_widths) == (widths, widths[::-1])
    assert config.model.g_attention_resolutions == maps
    assert config.model.d_attention_resolutions == (8, 4), "span 3 covers D's last map at every resolution"


def test_what_the_page_tells_people_to_type():
    page = (Path(__file__).parents[2] / "docs" / "nonlocal.md").read_text()
    commands = re.findall(r"python -m benchmarks\.nonlocal_comparison ((?:.*\\\n)*.*)", page)
    assert len(commands) == 2
    for command in commands:
        arguments = nonlocal_comparison._parser().parse_args(shlex.split(command.replace("\\\n", " ")))
        config_rules.validate(settings(arguments.variants[-1], 0, arguments), num_devices=1, num_processes=1)
    recipes = re.findall(r"--config=configs/(\S+):(\S+)", page)
    assert len(recipes) == 3
    for recipe, variant in recipes:
        assert (Path(__file__).parents[2] / "configs" / recipe).exists() and variant in RECIPE["SPANS"]


def run_of(variant, seed, fids):
    return {"variant": variant, "seed": seed, "fid": fids}


def test_figures_over_seeds_and_their_differences_at_the_same_seed():
    runs = [
        run_of("full", 0, {"10": 8.0, "20": 4.0}),
        run_of("full", 1, {"10": 6.0, "20": 6.0}),
        run_of("span3", 0, {"10": 9.0, "20": 5.0}),
        run_of("span3", 1, {"20": 3.0}),
        run_of("span3", 2, {"20": 100.0}),  # there is no run without mask to set it against
    ]
    summary = nonlocal_table.summarize(runs)
    assert summary["full"]["20"] == {"fid": {"mean": 5.0, "min": 4.0, "max": 6.0, "num_seeds": 2}, "minus_full": None}
    assert summary["span3"]["10"]["fid"] == {"mean": 9.0, "min": 9.0, "max": 9.0, "num_seeds": 1}
    assert summary["span3"]["20"]["fid"] == {"mean": 36.0, "min": 3.0, "max": 100.0, "num_seeds": 3}
    assert summary["span3"]["20"]["minus_full"] == {"mean": -1.0, "min": -3.0, "max": 1.0, "num_seeds": 2}
    assert nonlocal_table.summarize(runs[2:])["span3"]["20"]["minus_full"] is None


def test_the_table_is_made_of_the_runs_own_files(tmp_path, capsys):
    write_workdir(tmp_path, "span3", 0, {2: 30.0, 10: 20.0})
    write_workdir(tmp_path, "span3", 1, {10: 24.0}, run={**RUN, "git_revision": "fedcba9876543210+changes"})
    write_workdir(tmp_path, "full", 0, {2: 40.0, 10: 21.5})
    write_workdir(tmp_path, "span0", 0, {})  # not evaluated yet
    assert nonlocal_comparison.main(["--table_only", f"--out={tmp_path}"]) == 0
    text = (tmp_path / "comparison.md").read_text()
    assert capsys.readouterr().out == text + "\n"
    assert text.splitlines()[:4] == [
        "| variant | seeds | FID at step 2 | FID at step 10 | at the last minus full, same seed |",
        "|---|---|---|---|---|",
        "| full | 1 | 40.00 (40.00 ... 40.00) | 21.50 (21.50 ... 21.50) |  |",
        "| span3 | 2 | 30.00 (30.00 ... 30.00; 1 of 2 seeds) | 22.00 (20.00 ... 24.00) "
        "| -1.50 (-1.50 ... -1.50; 1 of 2 seeds) |",
    ]
    for fact in (
        "1,482 images at 64x64, batch 64; G 512-256-128-64, D 64-128-256-512",
        "attention at 16x16 and 32x32 in G, at 8x8 and 4x4 in D",
        "FID of 10 samples against 20 images; inception-x, 64 dimensions, weights raw, batch norm running",
        "Commit 0123456, fedcba9+changes; 1 x cpu (Linux; Python 3.11.7, jax 0.10.2).",
    ):
        assert fact in text
    comparison = json.loads((tmp_path / "comparison.json").read_text())
    assert [run["workdir"] for run in comparison["runs"]] == ["full_seed0", "span3_seed0", "span3_seed1"]
    assert comparison["runs"][1]["fid"] == {"2": 30.0, "10": 20.0}
    assert comparison["protocol"] == str(PROTOCOL)


def test_unlike_runs_do_not_stand_in_one_table(tmp_path):
    write_workdir(tmp_path / "a", "full", 0, {4: 1.0})
    write_workdir(tmp_path / "a", "span0", 0, {4: 1.0}, batch_size=8)
    with pytest.raises(ConfigError, match=r"full_seed0 and .*span0_seed0 differ in more than mask and seed \(batch_s"):
        nonlocal_table.collect(tmp_path / "a")
    write_workdir(tmp_path / "b", "full", 0, {4: 1.0})
    write_workdir(tmp_path / "b", "span0", 0, {4: 1.0}, protocol=dataclasses.replace(PROTOCOL, dims=192))
    with pytest.raises(EvaluationError, match=r"were evaluated in different ways \(dims\)"):
        nonlocal_table.collect(tmp_path / "b")
    with pytest.raises(ConfigError, match="holds no run that was evaluated"):
        nonlocal_table.collect(tmp_path / "c")


@pytest.mark.parametrize(
    ("flags", "text"),
    [
        ([], "--source is missing"),
        (["--source=folder:/no/such/folder"], "/no/such/folder"),
        (["--source=digits", "--variants", "span3", "spn0"], "the variant 'spn0' must be one of full, span0"),
        (["--source=digits", "--steps=10", "--evaluate_every=4"], "--evaluate_every (=4) must divide --steps (=10)"),
        (["--source=digits", "--set", "batchsize=4"], "did you mean `batch_size`?"),
        (["--source=digits", "--feature_dims=65"], "feature_dims (=65) must be one of"),
        (["--source=digits", "--inception_weights=/no/file"], "/no/file"),
    ],
)
def test_mistakes_cost_a_sentence_and_nothing_is_begun(flags, text, tmp_path, capsys):
    assert nonlocal_comparison.main([*flags, f"--out={tmp_path / 'out'}"]) == 2
    err = capsys.readouterr().err.splitlines()
    assert len(err) <= 2 and err[-1].startswith("nonlocal_comparison: ") and text in err[-1], err
    assert not (tmp_path / "out").exists()


def test_other_evaluations_are_refused_before_anything_is_trained(tmp_path, capsys):
    write_workdir(tmp_path, "span0", 0, {4: 1.0})
    flags = ["--source=digits", f"--out={tmp_path}", "--variants", "full", "span0", "--seeds=0", "--steps=4"]
    assert nonlocal_comparison.main([*flags, "--num_samples=10", "--feature_dims=192"]) == 2
    assert "was evaluated with feature_dims 64 and now --feature_dims is 192" in capsys.readouterr().err
    assert nonlocal_comparison.main([*flags, "--feature_dims=64"]) == 2
    assert "was evaluated with num_samples 10 and now --num_samples is 10000" in capsys.readouterr().err


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    """A command line of two steps on sixteen noisy pictures, judged by their mean colours."""
    folder, rng = tmp_path / "pictures", np.random.default_rng(0)
    folder.mkdir()
    for i in range(16):
        Image.fromarray(rng.integers(0, 256, (20, 18, 3), np.uint8)).save(folder / f"{i}.png", compress_level=1)
    judge = CallableExtractor("colours", lambda images: images.mean(axis=(1, 2)) / 255)
    monkeypatch.setattr(nonlocal_comparison, "TrainingEvaluator", functools.partial(TrainingEvaluator, extractor=judge))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    flags = "--resolution=16 --width_scale=0.125 --steps=2 --evaluate_every=1 --batch_size=4 --num_samples=6 --seeds=3"
    sizes = ["--set", "mesh.data=1", "sample.rows=2", "sample.columns=2"]
    return [f"--source=folder:{folder}", f"--out={tmp_path / 'out'}", *flags.split(), *sizes]


@pytest.mark.slow
def test_it_trains_evaluates_and_goes_on(tiny, tmp_path, capsys):
    assert nonlocal_comparison.main([*tiny, "--variants", "span0"]) == 0
    first = capsys.readouterr()
    assert "done: 2 steps" in first.err
    assert "| variant | seeds | FID at step 1 | FID at step 2 |" in first.out and "| span0 | 1 |" in first.out
    assert "16 images at 16x16, batch 4; G 16-8, D 8-16" in first.out
    (run,) = json.loads((tmp_path / "out" / "comparison.json").read_text())["runs"]
    assert (run["variant"], run["seed"], run["workdir"]) == ("span0", 3, "span0_seed3")
    assert set(run["fid"]) == {"1", "2"} and np.isfinite([*run["fid"].values()]).all()

    assert nonlocal_comparison.main([*tiny, "--variants", "span0"]) == 0
    second = capsys.readouterr()
    assert "step 2 of 2 is done" in second.err and "compiling" not in second.err
    assert second.out == first.out


@pytest.mark.parametrize(("reached", "trained"), [(2, 4), (1, 1)])
def test_every_variant_of_a_seed_comes_before_the_next_seed_and_a_signal_stops_all(tiny, monkeypatch, reached, trained):
    begun = []

    def train(config, workdir, **_):
        begun.append((workdir.name, config.seed, config.model.attention_span))
        return types.SimpleNamespace(step=reached)

    monkeypatch.setattr(nonlocal_comparison, "train", train)
    arguments = nonlocal_comparison._parser().parse_args([*tiny, "--variants", "full", "span3", "--seeds", "0", "1"])
    assert nonlocal_comparison.run_all(arguments) == (reached == 2)
    order = [("full_seed0", 0, -1), ("span3_seed0", 0, 3), ("full_seed1", 1, -1), ("span3_seed1", 1, 3)]
    assert begun == order[:trained]


def test_after_a_signal_nothing_is_printed_but_how_to_go_on(tiny, monkeypatch, capsys):
    monkeypatch.setattr(nonlocal_comparison, "run_all", lambda arguments: False)
    assert nonlocal_comparison.main(tiny) == 0
    captured = capsys.readouterr()
    assert not captured.out and captured.err == "nonlocal_comparison: stopped; type the same command to go on.\n"
