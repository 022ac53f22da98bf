"""The gates of attention, out of a training state and into what a run logs."""

import dataclasses
import json

import jax.numpy as jnp

from jaxgan.core.state import NetState
from jaxgan.training.gates import attention_gates
from jaxgan.training.loop import train
from tests.tiny_run import CONFIG


def network(params):
    return NetState(params=params, stats={}, opt_state=())


def test_only_scalars_called_gate_are_gates():
    layer = {"gate": jnp.float32(0.25), "query": {"kernel": jnp.ones((1, 1))}}
    nets = {
        "g": network({"attention": {"layers": {"2": layer}}}),
        "d": network({"gate": jnp.ones(3), "bias": jnp.ones(())}),
    }
    assert attention_gates(nets) == {"g_attention_layers_2_gate": 0.25}
    assert attention_gates({"d": nets["d"]}) == {}


def test_a_run_logs_its_gates_with_every_grid(tmp_path):
    model = dataclasses.replace(CONFIG.model, attention_resolutions=(4,))
    config = dataclasses.replace(
        CONFIG, model=model, total_steps=2, sample=dataclasses.replace(CONFIG.sample, every_steps=1)
    )
    state = train(config, tmp_path)
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    logged = [line for line in lines if any(name.endswith("_gate") for name in line)]
    assert [line["step"] for line in logged] == [1, 2]
    gates = {f"train/{name}": value for name, value in attention_gates(state.nets).items()}
    assert len(gates) == 2 and all(abs(value) > 0 for value in gates.values())
    assert logged[-1] == {"step": 2} | gates
