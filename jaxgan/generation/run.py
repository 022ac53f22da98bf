"""Opening a run, finished or still training, and sampling from it.

run = open_run("runs/digits")
images = run.sample(16, class_id="7")  # float32 (16, H, W, C) in [-1, 1]
"""

from __future__ import annotations

import dataclasses
import difflib
import functools
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from jaxgan.config import Config, ConfigError, MeshConfig
from jaxgan.core import checksum
from jaxgan.core import sharding as sharding_lib
from jaxgan.core.checkpoint import Checkpointer, CheckpointError
from jaxgan.core.network import Network
from jaxgan.core.state import Average, TrainState
from jaxgan.data.spec import DataSpec
from jaxgan.generation import generate as generate_lib
from jaxgan.generation import latents
from jaxgan.generation import translate as translate_lib
from jaxgan.generation.errors import RunError
from jaxgan.generation.run_files import read_config, read_data, read_json
from jaxgan.generation.sampler import Sampler, make_sampler
from jaxgan.generation.translate import Translator, make_translator
from jaxgan.methods.base import Method, initial_state
from jaxgan.methods.registry import build_method

__all__ = ["Run", "RunError", "list_steps", "open_run"]


@dataclasses.dataclass(frozen=True, eq=False)
class Run:
    """The weights of one step of a run, on all devices, and what is needed to use them."""

    workdir: Path
    config: Config
    data: DataSpec  # of the training data
    step: int
    method: Method
    networks: Mapping[str, Network]
    nets: Mapping[str, Average]  # weights and statistics as trained, of every network
    ema: Mapping[str, Average]  # moving averages of the networks that have one
    mesh: Mesh  # over all devices

    @property
    def num_classes(self) -> int:
        """Classes that images can be asked of; 0 = unconditional."""
        return int(getattr(self.method, "num_classes", 0))

    @property
    def latent_dim(self) -> int:
        """Size of z; raises RunError where the method draws no images from latents."""
        self._check_draws()
        return int(self.method.latent_dim)  # pyright: ignore[reportAttributeAccessIssue]

    @property
    def directions(self) -> tuple[str, ...]:
        """Directions in which it translates, of a2b and b2a; empty where it draws images from latents."""
        return tuple(getattr(self.method, "directions", ()))

    def _check_draws(self) -> None:
        if self.directions:
            raise RunError(
                f"{self.workdir} was trained to translate images and draws none from latents; `python -m jaxgan "
                f"translate --workdir={self.workdir} --images=FOLDER` uses it."
            )
        if getattr(self.method, "latent_dim", None) is None:
            raise RunError(f"{self.workdir} was trained by a method that draws no images from latents.")

    @property
    def sampler(self) -> Sampler:
        """The jitted function of `make_sampler`, images on every device."""
        return self._sampler

    @functools.cached_property
    def _sampler(self) -> Sampler:
        return make_sampler(self.method, self.networks, sharding=sharding_lib.replicated(self.mesh))

    @property
    def translator(self) -> Translator:
        """The jitted function of `make_translator`, images on every device."""
        return self._translator

    @functools.cached_property
    def _translator(self) -> Translator:
        sharding = sharding_lib.replicated(self.mesh)
        return make_translator(self.method, self.networks, scaling=self.config.data.scaling, sharding=sharding)

    def variables(self, weights: str = "auto") -> Mapping[str, Average]:
        """Returns weights and statistics of all networks.

        Args:
          weights: raw = as trained; ema = moving averages where a network has one; auto = ema if the run has any.

        Raises:
          RunError: another word, or no averages in this run.
        """
        if weights not in ("auto", "ema", "raw"):
            raise RunError(f"weights (={weights!r}) must be auto, ema or raw.")
        if weights == "ema" and not self.ema:
            raise RunError(f"{self.workdir} keeps no averaged weights (config.ema.halflife_images is 0); ask for raw.")
        return dict(self.nets) if weights == "raw" else {**self.nets, **self.ema}

    def weights_used(self, weights: str = "auto") -> str:
        """Returns what `variables(weights)` holds where it can: raw or ema."""
        return "raw" if weights == "raw" or not self.ema else "ema"

    def class_id(self, name_or_id: str | int) -> int:
        """Returns the id of a class given by id or by name; a name wins over the number that it looks like.

        Raises:
          RunError: an unknown class, or a run without classes.
        """
        if not self.num_classes:
            self._check_draws()
            raise RunError(
                f"class {name_or_id!r} was asked for, but {self.workdir} was trained without classes; leave it out."
            )
        names, text = self.data.class_names, str(name_or_id)
        if isinstance(name_or_id, str) and text in names:
            return names.index(text)
        if text.isdecimal() and int(text) < self.num_classes:
            return int(text)
        near = difflib.get_close_matches(text, names, n=3)
        hint = f" (did you mean {' or '.join(map(repr, near))}?)" if near else ""
        known = f" or one of {len(names)} names such as {names[0]!r}" if names else ""
        raise RunError(
            f"class {name_or_id!r} must be an id 0 ... {self.num_classes - 1}{known} of {self.workdir}{hint}."
        )

    def sample(
        self,
        num: int = 16,
        *,
        class_id: str | int | None = None,
        seed: int = 0,
        truncation: float | None = None,
        weights: str = "auto",
        z: Any = None,
        labels: Any = None,
        batch_size: int = 64,
    ) -> np.ndarray:
        """Returns images float32 (N, H, W, C) in [-1, 1].

        Args:
          num: images; with `z` its length counts instead.
          class_id: id or name of the class of all images; None = random classes.
          seed: of z and labels; image i depends on (seed, i) only.
          truncation: bound of the elements of z, see `latents.draw`.
          weights: see `variables`.
          z: (N, latent_dim), given instead of drawn.
          labels: of `z`, (N,) ids or (N, num_classes) mixtures of classes.
          batch_size: images per batch over all devices.

        Raises:
          RunError: for an argument out of its range.
        """
        chosen = None if class_id is None else self.class_id(class_id)
        if z is None and labels is None:
            batches = generate_lib.generate(
                self, num, seed=seed, batch_size=batch_size, truncation=truncation, class_id=chosen, weights=weights
            )
            return np.concatenate([images for images, _ in batches])
        if z is None:
            z = latents.draw(self.latent_dim, 0, seed, 0, len(labels), truncation=truncation)["z"]
        inputs = latents.check_given(self.latent_dim, self.num_classes, z, chosen if labels is None else labels)
        return np.concatenate(
            list(generate_lib.render(self, inputs, batch_size=batch_size, variables=self.variables(weights)))
        )

    def translate(
        self, images: Any, direction: str, *, seed: int = 0, weights: str = "auto", batch_size: int = 8
    ) -> np.ndarray:
        """Returns the translations of images, float32 (N, H, W, C) in [-1, 1].

        Args:
          images: (N, H, W, C), uint8, or floats in [-1, 1]; of any size, see `translate.translate`.
          direction: a2b or b2a, one of `directions`.
          seed: of the dropout of a generator that has any; image i depends on (seed, i) only.
          weights: see `variables`.
          batch_size: images per batch over all devices.

        Raises:
          RunError: for an argument out of its range, or a run that does not translate.
        """
        variables = self.variables(weights)
        return translate_lib.translate(self, images, direction, seed=seed, variables=variables, batch_size=batch_size)


def list_steps(workdir: str | os.PathLike[str]) -> list[int]:
    """Returns the steps that have a complete checkpoint, ascending; of a running training too.

    Raises:
      RunError: the folder is not a workdir.
    """
    workdir = Path(workdir)
    read_json(workdir, "config.json")
    folder = workdir / "checkpoints"
    names = os.listdir(folder) if folder.is_dir() else []
    return sorted(int(name) for name in names if name.isdecimal())  # unfinished ones have other names


def open_run(workdir: str | os.PathLike[str], *, step: int | None = None, method: Method | None = None) -> Run:
    """Opens a run for reading; neither its data nor its recipe is needed, and it may be training meanwhile.

    Args:
      workdir: folder of the run.
      step: of the checkpoint; None = the newest.
      method: what was trained, if it was given from Python; None = what `config.json` describes.

    Raises:
      RunError: not a workdir, of a newer version, no checkpoint (of that step), or other networks than the method's.
      CheckpointError: the checkpoint is damaged or of a newer format.
    """
    workdir = Path(workdir)
    config, data = read_config(workdir), read_data(workdir)
    mesh = sharding_lib.make_mesh(MeshConfig())
    try:
        method = build_method(config, data) if method is None else method
        like, networks = _structure(method, config.seed, sharding_lib.replicated(mesh))
    except ConfigError as error:
        raise RunError(f"{workdir} describes no network that can be built: {error}") from error
    found, state = _restore(workdir, config, step, like)
    nets = {name: Average(params=net.params, stats=net.stats) for name, net in state.nets.items()}
    return Run(workdir, config, data, found, method, networks, nets, state.ema, mesh)


def _restore(workdir: Path, config: Config, step: int | None, like: TrainState) -> tuple[int, TrainState]:
    """Reads the checkpoint; a training may delete the newest one for a newer one while it is being read."""
    while True:
        found = _choose_step(workdir, config, step)
        checkpointer = Checkpointer(workdir / "checkpoints", None)
        try:
            _check_networks(workdir, found, checkpointer.run(found), like)
            return found, checkpointer.restore(found, like)
        except CheckpointError:
            if _choose_step(workdir, config, step) == found:
                raise
        finally:
            checkpointer.close()


def _choose_step(workdir: Path, config: Config, step: int | None) -> int:
    steps = list_steps(workdir)
    if not steps:
        raise RunError(
            f"{workdir} has no checkpoint yet; the first one comes at step {config.checkpoint.every_steps:,}, or at "
            "once when its training is stopped with Ctrl-C."
        )
    if step is not None and step not in steps:
        raise RunError(f"{workdir} has no checkpoint of step {step}; there are {', '.join(map(str, steps))}.")
    return steps[-1] if step is None else step


def _check_networks(workdir: Path, step: int, saved: Mapping[str, Any], like: TrainState) -> None:
    """Names the first weight that the checkpoint has otherwise, and the way out."""
    wanted, there = checksum.shapes({"nets": like.nets}), saved["shapes"].get("train", {})
    for name in sorted(name for name in {*wanted, *there} if name.startswith("nets/")):
        if wanted.get(name) != there.get(name):
            raise RunError(
                f"step {step} of {workdir} holds other networks than its config.json describes ({name} is "
                f"{there.get(name, 'absent')} there and {wanted.get(name, 'absent')} here); a run with networks of "
                "your own is opened from Python, by open_run(workdir, method=...)."
            )


def _structure(method: Method, seed: int, sharding: jax.sharding.Sharding) -> tuple[TrainState, dict[str, Network]]:
    """Returns the shapes of the method's state, placed by `sharding`, and its networks, without drawing weights."""
    networks: dict[str, Network] = {}

    def build() -> TrainState:
        state, found = initial_state(method, seed=seed, sharding=sharding)
        networks.update(found)
        return state

    try:
        state = jax.eval_shape(build)
    except jax.errors.JAXTypeError:  # networks of a user's own may look at the values of their weights
        state = build()
    like = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding), state)
    return like, networks
