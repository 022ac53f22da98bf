"""The step benchmark: turns and ratios in closed form, FLOPs by hand, and runs of tiny networks."""

import dataclasses
import json
import math
import os
import types

import jax
import pytest

from benchmarks import device_peak, sides, step_report, train_step
from benchmarks.cases import PRESETS, Case
from benchmarks.sides import JaxganSide, draw_batch
from jaxgan.config import Config, DataConfig, MeshConfig, MethodConfig, ModelConfig, OptimConfig

MLP = Case(
    "mlp",
    Config(
        batch_size=64,
        data=DataConfig(resolution=16, channels=1),
        model=ModelConfig(name="mlp", conditional=False, latent_dim=32, g_hidden=(64,), d_hidden=(48,)),
        method=MethodConfig(joint_forward=False, loss="non_saturating"),
        mesh=MeshConfig(data=1),
    ),
    num_classes=0,
)
TINY = ["--preset=dcgan64", "--rounds=2", "--steps=1", "--set", "batch_size=8", "data.resolution=8", "model.g_widths=8"]


@pytest.fixture
def run(monkeypatch, capsys):
    """Runs the command line within this process, on a small matrix product; returns (status, stdout, stderr)."""
    monkeypatch.setenv("XLA_PYTHON_CLIENT_PREALLOCATE", "true")  # so that what was set before is restored afterwards
    monkeypatch.delenv("XLA_PYTHON_CLIENT_PREALLOCATE")
    monkeypatch.setattr(train_step, "_PAUSE_SECONDS", 0.0)
    monkeypatch.setattr(train_step, "measured_peak", lambda: 3e9)
    cached = jax.config.jax_enable_compilation_cache

    def run(*args):
        status = train_step.main([str(arg) for arg in args])
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    yield run
    jax.config.update("jax_enable_compilation_cache", cached)


class FakeSide:
    start_seconds, memory, num_params = 1.5, (2**21, "stated"), {"g": 7}

    def __init__(self, name, log, seconds, clock):
        self.name, self.log, self.seconds, self.clock = name, log, iter(seconds), clock

    def run(self, steps):
        self.log.append((self.name, steps))
        self.clock.now += next(self.seconds)


def test_sides_take_turns_in_alternating_order_and_are_timed_per_step():
    clock, log = types.SimpleNamespace(now=0.0), []
    ours = FakeSide("ours", log, [2.0, 4.0, 6.0], clock)
    theirs = FakeSide("theirs", log, [8.0, 4.0, 3.0], clock)
    seconds = train_step.race([ours, theirs], train_step.Plan(rounds=3, steps=2), clock=lambda: clock.now)
    assert seconds == {"ours": [1.0, 2.0, 3.0], "theirs": [4.0, 2.0, 1.5]}
    assert log == [(name, 2) for name in ("ours", "theirs", "theirs", "ours", "ours", "theirs")]


def test_the_pause_is_outside_of_the_time(monkeypatch):
    clock = types.SimpleNamespace(now=0.0)
    monkeypatch.setattr(train_step.time, "sleep", lambda seconds: setattr(clock, "now", clock.now + seconds))
    ours = FakeSide("ours", [], [2.0], clock)
    seconds = train_step.race([ours], train_step.Plan(rounds=1, steps=1, pause=5.0), clock=lambda: clock.now)
    assert seconds == {"ours": [2.0]} and clock.now == 7.0


def test_figures_in_closed_form():
    pair = [FakeSide(name, [], [], None) for name in ("ours", "theirs")]
    seconds = {"ours": [1.0, 2.0, 4.0], "theirs": [3.0, 1.0, 20.0]}
    ours, theirs = step_report.summarize(pair, seconds, images=10, flops=6.0, peak=12.0)
    assert (ours["images_per_second"], ours["flops_per_second"], ours["share_of_peak"]) == (5.0, 3.0, 0.25)
    assert (theirs["seconds_per_step"], theirs["flops_per_second"], theirs["share_of_peak"]) == (3.0, 2.0, 1 / 6)
    assert ours["ratio"] is None
    assert theirs["ratio"] == {"median": 3.0, "min": 0.5, "max": 5.0}  # of the rounds, not of the medians (1.5)
    unknown = step_report.summarize(pair, seconds, images=10, flops=None, peak=None)
    assert [(row["flops_per_second"], row["share_of_peak"]) for row in unknown] == [(None, None)] * 2
    line = step_report._format_side(theirs)
    assert "theirs" in line and "16.7%" in line and "3.00 (0.50 ... 5.00)" in line and " 2 " in line  # MiB


@pytest.mark.parametrize(
    "kind, dtype, tf32, tflops",
    [
        ("NVIDIA H100 80GB HBM3", "float32", True, 494.5),
        ("NVIDIA H100 80GB HBM3", "float32", False, 67.0),
        ("NVIDIA H100 80GB HBM3", "bfloat16", True, 989.5),
        ("NVIDIA H100 PCIe", "bfloat16", True, 756.5),
        ("NVIDIA H200", "float32", True, 494.5),
        ("NVIDIA A100-SXM4-80GB", "float32", True, 156.0),
        ("Tesla V100-SXM2-16GB", "float32", True, 15.7),  # no TF32
        ("Tesla V100-SXM2-16GB", "bfloat16", True, None),
        ("TPU v4", "bfloat16", True, 275.0),
        ("TPU v5 lite", "float32", True, 197.0),  # in bfloat16 passes
        ("TPU v5p", "bfloat16", True, 459.0),
        ("TPU v6 lite", "bfloat16", True, 918.0),
        ("a device of the future", "bfloat16", True, None),
    ],
)
def test_peaks_of_the_data_sheets(kind, dtype, tf32, tflops):
    peak = device_peak.listed_peak(kind, dtype, tf32=tf32)
    assert peak is None if tflops is None else math.isclose(peak, tflops * 1e12)


def test_a_measured_peak_is_that_of_the_fastest_product(monkeypatch):
    ticks = iter([0.0, 5.0, 10.0, 12.0, 20.0, 29.0])
    monkeypatch.setattr(device_peak.time, "perf_counter", lambda: next(ticks))
    assert device_peak.measured_peak(size=16, repeats=3) == 2 * 16**3 / 2.0


def test_the_batch_is_as_the_step_wants_it_and_uses_the_whole_range():
    config = dataclasses.replace(PRESETS["sagan32"].config, num_d_steps=2, data=DataConfig(resolution=16, channels=1))
    batch = draw_batch(Case("", config, num_classes=3))
    assert batch["images"].shape == (2, 64, 16, 16, 1) and batch["images"].dtype == "uint8"
    assert (batch["images"].min(), batch["images"].max()) == (0, 255)
    assert batch["labels"].dtype == "int32" and set(batch["labels"].ravel()) == {0, 1, 2}
    assert not draw_batch(MLP)["labels"].any()


def test_flops_are_those_of_the_matrix_products_and_state_moves_on():
    side = JaxganSide(MLP, draw_batch(MLP))
    side.run(3)
    assert int(side._state.step) == 4  # one to warm up
    g = (32 * 64, 64 * 256)
    d = (256 * 48, 48)
    assert side.num_params == {"g": sum(g) + 64 + 256, "d": sum(d) + 48 + 1}
    # Forward and both gradients cost 2 per weight and image each; inputs have no gradient, save D's in G's phase.
    d_phase = 2 * 64 * (sum(g) + 2 * (3 * sum(d) - d[0]))
    g_phase = 2 * 64 * (3 * sum(g) - g[0] + 2 * sum(d))
    assert 1.0 < side.flops / (d_phase + g_phase) < 1.15  # the rest: activations, random bits, Adam
    assert side.flops == pytest.approx(side.compiled_flops, rel=0.1)
    state_bytes = 4 * 3 * sum(side.num_params.values())  # parameters and Adam's two moments
    assert side.memory[0] > state_bytes and "plan" in side.memory[1]


def test_a_loop_over_d_steps_does_not_hide_flops():
    flops, compiled = {}, {}
    for unroll in ("never", "always"):
        mesh = MeshConfig(data=1, unroll_d_steps=unroll)
        case = dataclasses.replace(MLP, config=dataclasses.replace(MLP.config, num_d_steps=4, mesh=mesh))
        side = JaxganSide(case, draw_batch(case))
        flops[unroll], compiled[unroll] = side.flops, side.compiled_flops
    assert flops["never"] == flops["always"]
    assert compiled["never"] < 0.8 * flops["never"]  # why it is not counted there


@pytest.mark.parametrize("peaks, source", [([0, 777], "allocator's peak"), ([777, 777], "plan")])
def test_an_allocators_peak_counts_only_where_it_has_risen(monkeypatch, peaks, source):
    readings = iter(peaks)
    monkeypatch.setattr(sides, "_peak_bytes", lambda: next(readings))
    memory = JaxganSide(MLP, draw_batch(MLP)).memory
    assert source in memory[1] and (memory[0] == 777) == (source == "allocator's peak")


def test_command_line_against_pytorch(run, tmp_path):
    pytest.importorskip("torch")
    file = tmp_path / "step.json"
    status, out, err = run(*TINY, "model.d_widths=8", "num_d_steps=2", "--json", file, "--peer=eager")
    assert (status, err) == (0, "")
    assert not jax.config.jax_enable_compilation_cache  # compilation is timed
    assert os.environ["XLA_PYTHON_CLIENT_PREALLOCATE"] == "false"
    report = json.loads(file.read_text())
    assert [result["dtype"] for result in report["results"]] == ["float32", "bfloat16"]
    assert report["peak_source"].startswith("measured") and report["float32_precision"] == "float32"
    assert report["versions"]["torch"] and report["versions"]["jax"] == jax.__version__ and "git_revision" in report
    for result in report["results"]:
        ours, theirs = result["sides"]
        assert (ours["side"], theirs["side"], result["notes"]) == ("jaxgan", "PyTorch eager", [])
        assert ours["num_params"] == theirs["num_params"] == {"g": 8 * 100 * 16 + 16 + 8 * 48 + 3, "d": 392 + 129}
        pairs = zip(theirs["seconds_of_rounds"], ours["seconds_of_rounds"], strict=True)
        ratios = [a / b for a, b in pairs]
        assert len(ratios) == 2
        assert theirs["ratio"] == {"median": pytest.approx(sum(ratios) / 2), "min": min(ratios), "max": max(ratios)}
        assert ours["images_per_second"] * ours["seconds_per_step"] == pytest.approx(16)  # two D steps on eight each
        for side in (ours, theirs):
            assert side["flops_per_second"] * side["seconds_per_step"] == pytest.approx(result["flops_per_step"])
            assert side["share_of_peak"] == pytest.approx(side["flops_per_second"] / 3e9)
    assert out.count("PyTorch eager") == 2 and "bfloat16" in out


def test_different_networks_are_never_compared(monkeypatch):
    pytest.importorskip("torch")
    case = Case("tiny", PRESETS["dcgan64"].config, 0)
    model = dataclasses.replace(case.config.model, g_widths=(8,), d_widths=(8,))
    small = dataclasses.replace(
        case.config, batch_size=8, data=DataConfig(resolution=8), model=model, mesh=MeshConfig(data=1)
    )
    settings = train_step.peer_settings(small, 0)
    monkeypatch.setattr(train_step, "peer_settings", lambda *_: settings | {"g_widths": (16,)})
    with pytest.raises(RuntimeError, match="not a match"):
        train_step.time_case(dataclasses.replace(case, config=small), train_step.Plan(), lambda dtype: None)


def test_a_recipe_without_a_peer_is_timed_alone_and_says_why(run, tmp_path):
    recipe = tmp_path / "clipped.py"
    recipe.write_text(
        "from jaxgan import config\n"
        "def get_config():\n"
        "    c = config.default()\n"
        "    c.batch_size, c.data.resolution = 8, 4\n"
        "    c.model.name, c.model.conditional = 'mlp', False\n"
        "    return c\n"
    )
    status, out, err = run("--config", recipe, "--dtypes", "float32", "--rounds=1", "--steps=1")
    assert (status, err) == (0, "")
    assert "clipped: 4 pixels, batch 8" in out and "has no model.name='mlp'; jaxgan is timed alone." in out
    assert "PyTorch eager" not in out


def test_peers_that_cannot_run_are_left_out_with_a_sentence(monkeypatch):
    case, plan = PRESETS["sagan32"], train_step.Plan(peer="both")
    case = dataclasses.replace(case, config=dataclasses.replace(case.config, mesh=MeshConfig(data=1)))

    def build(settings, batch, *, compile):
        if compile:
            raise RuntimeError("no compiler\nand a long story")
        return "eager side"

    monkeypatch.setattr(train_step, "PeerSide", build)
    monkeypatch.setattr(train_step, "_torch_device", lambda: "cpu")
    assert train_step.build_peers(case, plan, {}) == (["eager side"], ["PyTorch compiled is left out: no compiler"])
    assert train_step.build_peers(case, dataclasses.replace(plan, peer="none"), {}) == ([], [])


def test_without_pytorch_jaxgan_is_timed_alone(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "torch", None)
    case = dataclasses.replace(PRESETS["dcgan64"])
    case = dataclasses.replace(case, config=dataclasses.replace(case.config, mesh=MeshConfig(data=1)))
    peers, notes = train_step.build_peers(case, train_step.Plan(peer="both"), {})
    assert peers == [] and len(notes) == 1 and "not installed" in notes[0]


@pytest.mark.parametrize(
    "args, expected",
    [
        (["--preset=dcgan64", "--set", "model.g_chanels=3"], "g_channels"),
        (["--preset=dcgan64", "--set", "batch_size=0"], "config.batch_size (=0) must be positive"),
        (["--preset=dcgan64", "--json", "no/such/folder/x.json"], "must lie in a folder that exists"),
        (["--config", "no/such/recipe.py"], "recipe.py"),
    ],
)
def test_mistakes_are_one_sentence(run, args, expected):
    status, out, err = run(*args)
    assert status == 2 and out == "" and err.startswith("train_step: ") and expected in err and err.count("\n") == 1


def test_on_a_gpu_precision_names_both_sides(monkeypatch):
    seen = {}

    def fake_time(case, plan, peak):
        seen.update(matmul=jax.config.jax_default_matmul_precision, peak=peak(case.config.dtype), tf32=plan.tf32)
        return {}

    monkeypatch.setattr(train_step, "time_case", fake_time)
    monkeypatch.setattr(train_step.jax, "default_backend", lambda: "gpu")
    device = types.SimpleNamespace(device_kind="NVIDIA A100-SXM4-80GB")
    monkeypatch.setattr(train_step.jax, "devices", lambda: [device, device])
    case = dataclasses.replace(MLP, config=dataclasses.replace(MLP.config, mesh=MeshConfig(data=2)))
    report = train_step.benchmark(case, ["float32"], train_step.Plan(tf32=True))
    assert seen == {"matmul": "default", "peak": 2 * 156e12, "tf32": True}
    assert "TF32" in report["float32_precision"] and report["peak_source"] == "data sheet"
    report = train_step.benchmark(case, ["float32"], train_step.Plan(tf32=False))
    assert seen == {"matmul": "highest", "peak": 2 * 19.5e12, "tf32": False}
    assert report["float32_precision"] == "float32"


def test_the_optimizer_of_the_presets_is_adam_with_the_papers_rates():
    assert PRESETS["dcgan64"].config.g_optim == PRESETS["dcgan64"].config.d_optim == OptimConfig(lr=2e-4, b1=0.5)
    for name in ("sagan32", "sagan128"):
        config = PRESETS[name].config
        assert (config.g_optim, config.d_optim) == (OptimConfig(lr=1e-4), OptimConfig(lr=4e-4))
        assert 0.5 ** (config.batch_size / config.ema.halflife_images) == pytest.approx(0.9999, abs=1e-8)
