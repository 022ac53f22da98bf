"""Ready-made terms: further losses of G and D, to be summed with weights (`d_terms`, `g_terms` of `Adversarial`).

Each reads from `Game` what a pure function of `objectives/` needs; the papers and deviations are stated there. A user's
own term is a plain function of `Game` that returns a scalar. Logged is the term's own value, added is weight times it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxgan.core.state import Average
from jaxgan.methods.errors import MethodError
from jaxgan.methods.game import AnyTerm, Game, StatefulTerm, Term, Weighted
from jaxgan.objectives import auxiliary, energy, matching
from jaxgan.objectives import mutual_information as information
from jaxgan.objectives.mutual_information import codes, noise

__all__ = [
    "BoundaryEquilibrium",
    "Game",
    "StatefulTerm",
    "Term",
    "auxiliary_classifier",
    "boundary_equilibrium",
    "codes",
    "feature_matching",
    "historical_average",
    "mutual_information",
    "noise",
    "pulling_away",
    "weighted",
]


def weighted(weight: float, term: AnyTerm) -> Weighted:
    """Returns the term with a factor: the sum holds `weight * term`, the log the term itself."""
    if callable(weight):
        raise MethodError("weighted takes the weight first: weighted(0.1, term).")
    return Weighted(weight, term)


def auxiliary_classifier(output: str = "class_logits") -> Term:
    """ACGAN: D classifies real and fake images, G's fakes shall be classified as asked; belongs into both networks.

    Args:
      output: where D returns its class logits (B, num_classes).
    """

    def auxiliary_classifier(game: Game) -> jax.Array:
        loss = jnp.mean(auxiliary.classification(game.fake_out[output], game.labels))
        if game.phase == "d":
            loss += jnp.mean(auxiliary.classification(game.real_out[output], game.real_labels))
        return loss

    return auxiliary_classifier


def mutual_information(*, categorical: int = 10, continuous: int = 2) -> Term:
    """InfoGAN: D reads the codes of z off the fakes, G makes them readable; belongs into both networks.

    D returns "code_logits" (B, categorical) and "code_mean", "code_log_var" (B, continuous), without the last for unit
    variances; G makes its images from `codes(z, ...)` and `noise(z, ...)`.
    """

    def mutual_information(game: Game) -> jax.Array:
        one_hot, values = codes(game.z, categorical=categorical, continuous=continuous)
        out = game.fake_out
        loss = information.code_loss(
            one_hot,
            values,
            code_logits=out["code_logits"] if categorical else None,
            code_mean=out["code_mean"] if continuous else None,
            code_log_var=out.get("code_log_var") if continuous else None,
        )
        return jnp.mean(loss)

    return mutual_information


def pulling_away(output: str = "embedding") -> Term:
    """EBGAN-PT: G's fakes shall be embedded in different directions; usual weight 0.1.

    Args:
      output: where D returns its embeddings (B, features).
    """

    def pulling_away(game: Game) -> jax.Array:
        _only_for("g", game, "pulling_away")
        return energy.pulling_away(game.fake_out[output])

    return pulling_away


def feature_matching(output: str = "features") -> Term:
    """G's fakes shall have the mean features of the real images; costs a forward of D on the real images.

    Args:
      output: where D returns the features (B, ...).
    """

    def feature_matching(game: Game) -> jax.Array:
        _only_for("g", game, "feature_matching")
        return matching.feature_matching(game.real_out[output], game.fake_out[output])

    return feature_matching


def historical_average() -> StatefulTerm:
    """The squared distance of the trained network's parameters from the mean of all their earlier values; 0 at first.

    For either network; the mean, as large as the network, moves at each of its updates.
    """
    return _HistoricalAverage()


class BoundaryEquilibrium(NamedTuple):
    """The two sides of BEGAN."""

    d: StatefulTerm
    g: Term


def boundary_equilibrium(*, gamma: float = 0.75, lambda_k: float = 0.001) -> BoundaryEquilibrium:
    """BEGAN, on a D whose logits are energies (B,); both sides replace the adversarial loss:

        began = terms.boundary_equilibrium(gamma=0.5)
        Adversarial(..., loss_fns=None, d_terms={"began": began.d}, g_terms={"began": began.g})

    `k` starts at 0 and moves at each update of D; it is logged as `d_k`, the measure of convergence as `d_convergence`.

    Args:
      gamma: see `energy.update_balance`.
      lambda_k: as well.
    """

    def boundary_equilibrium(game: Game) -> jax.Array:
        _only_for("g", game, "boundary_equilibrium(...).g")
        return jnp.mean(energy.boundary_equilibrium_g(game.fake_out["logits"]))

    return BoundaryEquilibrium(_BoundaryEquilibriumD(gamma, lambda_k), boundary_equilibrium)


class _HistoricalAverage:
    __name__ = "historical_average"

    def init(self, nets: Mapping[str, Average], network: str) -> dict[str, Any]:
        return {"count": jnp.zeros((), jnp.int32), "mean": nets[network].params}

    def __call__(self, game: Game, state: dict[str, Any]) -> tuple[jax.Array, dict[str, Any]]:
        params = game.params(game.phase)
        loss = matching.squared_distance(params, state["mean"])
        mean = matching.running_mean(state["mean"], state["count"], params)
        return loss, {"count": state["count"] + 1, "mean": mean}


class _BoundaryEquilibriumD:
    __name__ = "boundary_equilibrium"

    def __init__(self, gamma: float, lambda_k: float):
        self.gamma, self.lambda_k = gamma, lambda_k

    def init(self, nets: Mapping[str, Average], network: str) -> jax.Array:
        del nets, network
        return jnp.zeros((), jnp.float32)

    def __call__(self, game: Game, state: jax.Array) -> tuple[jax.Array, jax.Array]:
        _only_for("d", game, "boundary_equilibrium(...).d")
        real, fake = game.real_out["logits"], game.fake_out["logits"]
        game.log("k", state)
        game.log("convergence", energy.convergence_measure(real, fake, gamma=self.gamma))
        k = energy.update_balance(state, real, fake, gamma=self.gamma, lambda_k=self.lambda_k)
        return jnp.mean(energy.boundary_equilibrium_d(real, fake, state)), k


def _only_for(phase: str, game: Game, name: str) -> None:
    if game.phase != phase:
        raise MethodError(f"{name} is a term of {phase}; move it from {game.phase}_terms to {phase}_terms.")
