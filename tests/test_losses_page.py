"""The page of losses keeps its word: every torchgan loss and layer has a row, and every test that it names exists."""

import ast
import re
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxgan.core import network as network_lib
from jaxgan.core.network import BoundNetwork

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs" / "losses.md").read_text()

# The public classes of torchgan.losses and torchgan.layers, version 0.0.4.
LOSSES = """
AuxiliaryClassifierDiscriminatorLoss AuxiliaryClassifierGeneratorLoss BoundaryEquilibriumDiscriminatorLoss
BoundaryEquilibriumGeneratorLoss DraganGradientPenalty EnergyBasedDiscriminatorLoss EnergyBasedGeneratorLoss
EnergyBasedPullingAwayTerm FeatureMatchingGeneratorLoss HistoricalAverageDiscriminatorLoss
HistoricalAverageGeneratorLoss LeastSquaresDiscriminatorLoss LeastSquaresGeneratorLoss MinimaxDiscriminatorLoss
MinimaxGeneratorLoss MutualInformationPenalty WassersteinDiscriminatorLoss WassersteinGeneratorLoss
WassersteinGradientPenalty
""".split()
LAYERS = """
BasicBlock2d BottleneckBlock2d DenseBlock2d MinibatchDiscrimination1d ResidualBlock2d ResidualBlockTranspose2d
SelfAttention2d SpectralNorm2d TransitionBlock2d TransitionBlockTranspose2d VirtualBatchNorm
""".split()


def rows() -> list[list[str]]:
    lines = [line for line in PAGE.splitlines() if line.startswith("| ") and not line.startswith("| torchgan")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


def named_tests(text: str) -> list[tuple[str, str]]:
    return re.findall(r"(tests/[\w/]+\.py)::(\w+)", text)


@pytest.mark.parametrize("name", LOSSES + LAYERS)
def test_every_loss_and_layer_has_one_row(name):
    assert sum(name in re.split(r",\s*", row[0]) for row in rows()) == 1


def test_rows_are_complete():
    assert rows()
    for row in rows():
        assert len(row) == 4 and all(row), row
        assert named_tests(row[3]) or (row[1] == "not offered" and row[3] == "–"), row


@pytest.mark.parametrize(("path", "name"), sorted(set(named_tests(PAGE))))
def test_the_tests_it_names_exist(path, name):
    functions = [
        node.name for node in ast.walk(ast.parse((ROOT / path).read_text())) if isinstance(node, ast.FunctionDef)
    ]
    assert name in functions


@pytest.mark.parametrize("path", sorted(set(re.findall(r"`((?:layers|models|methods)/\w+\.py)`", PAGE))))
def test_the_files_it_names_exist(path):
    assert (ROOT / "jaxgan" / path).is_file()


def test_the_terms_it_names_exist():
    from jaxgan.methods import terms
    from jaxgan.objectives import energy, losses

    modules = {"terms": terms, "energy": energy, "losses": losses}
    named = re.findall(r"\b(terms|energy|losses)\.([a-z_]+)\b", PAGE)
    assert len(named) > 10
    assert all(hasattr(modules[module], name) for module, name in named if name not in ("md", "py"))


class G(nnx.Module):
    def __init__(self, rngs):
        self.linear = nnx.Linear(64, 16, rngs=rngs)

    def __call__(self, z):
        return self.linear(z).reshape(-1, 4, 4, 1)


class D(nnx.Module):
    def __init__(self, rngs):
        self.linear = nnx.Linear(16, 4, rngs=rngs)

    def __call__(self, images):
        out = self.linear(images.reshape(-1, 16))
        return {"logits": out[:, 0], "class_logits": out[:, 1:]}


def test_the_example_runs():
    code = PAGE.split("```python\n")[1].split("```")[0]
    head, call = code.split("Adversarial(\n")
    names = {"G": G, "D": D}
    exec(f"{head}method = Adversarial(\n{call}", names)
    method = names["method"]
    nets = {n: BoundNetwork(*network_lib.create(s.build, jax.random.key(0))) for n, s in method.networks.items()}
    batch = {"images": jnp.ones((4, 4, 4, 1)), "labels": jnp.arange(4) % 3}
    _, d = method.loss("d", nets, batch, jax.random.key(1), None, {})
    loss, g = method.loss("g", nets, batch, jax.random.key(1), d.carry, {})
    assert "d_auxiliary_classifier" in d.metrics and "penalty" in d.metrics
    expected = g.metrics["g_loss"] + g.metrics["g_classes"] + 0.1 * g.metrics["g_bright"]
    np.testing.assert_allclose(loss, expected, rtol=1e-6)
