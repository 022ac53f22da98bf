"""`python -m jaxgan export`: a generator as files that need no jaxgan: a StableHLO program, and its plain weights."""

from __future__ import annotations

import argparse
import hashlib
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
import safetensors.numpy

from jaxgan import config_tree
from jaxgan.commands import export_example, export_program, export_stablehlo, opening
from jaxgan.commands.errors import CommandError
from jaxgan.commands.export_program import Program
from jaxgan.commands.output import output_folder
from jaxgan.core import checksum
from jaxgan.core.state import Average
from jaxgan.generation import latents
from jaxgan.generation.errors import RunError
from jaxgan.generation.run import Run
from jaxgan.generation.translate import one_direction
from jaxgan.training.workdir import write_json

HELP = "write a run's generator as StableHLO and safetensors, to be used without jaxgan"

_FORMAT = 1  # of config.json
_NUM_CHECKED = 4  # samples in check.npz
# Largest difference between the program and the run's own sampler, of images in [-1, 1]. The two are compiled
# otherwise, so their sums round otherwise, by several units in the last place of every layer: bfloat16 has 8 bits of
# precision, and the inputs of float32 matrix products on an accelerator have 11 or 8.
_TOLERANCE, _ROUNDED_TOLERANCE = 1e-4, 0.1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the flags: which weights, where they shall run, and where to write."""
    opening.add_weights_arguments(parser)
    parser.add_argument("--truncation", type=float, help="of z in standing statistics and in check.npz; default: none")
    parser.add_argument(
        "--seed", type=int, default=0, help="of z in standing statistics and in check.npz, or of dropout (default 0)"
    )
    parser.add_argument("--direction", choices=("a2b", "b2a"), help="which generator, of a run that translates")
    parser.add_argument(
        "--platforms",
        help=f"where the program shall run, some of {','.join(export_stablehlo.PLATFORMS)}; default: cpu,cuda, and "
        "this machine's",
    )
    parser.add_argument("--out", required=True, help="folder to write")
    parser.add_argument("--overwrite", action="store_true", help="replace what --out holds under the same names")


def run(args: argparse.Namespace) -> None:
    """Writes generator.stablehlo, generator.safetensors, check.npz, example.py and config.json.

    Raises:
      CommandError, RunError: with one sentence for the user; nothing is written then.
    """
    latents.check_seed(args.seed)
    latents.check_truncation(args.truncation)
    platforms = _platforms(args.platforms)
    opened = opening.open_from(args)
    program = _program(opened, args)
    with output_folder(args.out, overwrite=args.overwrite) as folder:
        variables = opening.choose_variables(opened, args)
        used = export_stablehlo.used_networks(opened, variables, program)
        _say(f"exporting step {opened.step:,} for {', '.join(platforms)}")
        file = folder / "generator.stablehlo"
        file.write_bytes(export_stablehlo.serialize(opened, used, platforms, program))
        serialized = file.read_bytes()
        (folder / "generator.safetensors").write_bytes(_safetensors(used))
        _say(f"comparing {_NUM_CHECKED} images of the program with the run's own")
        check = program.draw(variables, _NUM_CHECKED)
        difference = _difference(opened, serialized, check, program)
        np.savez(folder / "check.npz", **check)  # pyright: ignore[reportArgumentType]
        shapes = dict(zip(program.example, export_stablehlo.input_shapes(serialized), strict=True))
        (folder / export_example.FILE_NAME).write_text(_example(opened, args, shapes))
        chosen = opening.describe(opened, args) | {
            "workdir": opened.workdir.resolve().name,  # the folder may be handed on, to where paths mean nothing
            "platforms": platforms,
            "max_abs_difference": difference,
        }
        write_json(folder / "config.json", _describe(opened, args, chosen, shapes, folder))
    print(
        f"step {opened.step:,} is in {args.out}; the program's images differ from the run's by at most {difference:.2g}"
    )


def _program(run: Run, args: argparse.Namespace) -> Program:
    if not run.directions:
        if args.direction is not None:
            raise CommandError(f"--direction does not apply, since {run.workdir} draws images from latents.")
        return export_program.drawing(run, seed=args.seed, truncation=args.truncation)
    if args.truncation is not None or args.bn != "running":
        raise CommandError(
            f"--truncation and --bn do not apply, since {run.workdir} translates images; leave them out."
        )
    args.direction = one_direction(run, args.direction)
    return export_program.translating(run, args.direction, seed=args.seed)


def _platforms(text: str | None) -> list[str]:
    """Returns the platforms asked for, each once; among them must be the one that can be tried here."""
    here = export_stablehlo.platform_here()
    names = ["cpu", "cuda", here] if text is None else [name.strip() for name in text.split(",")]
    if unknown := [name for name in names if name not in export_stablehlo.PLATFORMS]:
        raise CommandError(
            f"--platforms (={text!r}): {unknown[0]!r} must be one of {', '.join(export_stablehlo.PLATFORMS)}; write "
            "cuda for GPUs of NVIDIA and rocm for those of AMD."
        )
    if here not in names:
        raise CommandError(
            f"--platforms (={text!r}) must include {here}, what this machine has, for the program is tried before it "
            "is handed over; add it."
        )
    return list(dict.fromkeys(names))


def _safetensors(variables: Mapping[str, Average]) -> bytes:
    """Returns a file of all variables under their paths, e.g. `g/params/linear/kernel`, in the dtype of training."""
    leaves = [np.asarray(leaf, order="C") for leaf in jax.tree.leaves(variables)]
    return safetensors.numpy.save(dict(zip(checksum.paths(variables), leaves, strict=True)))


def _difference(run: Run, serialized: bytes, check: Mapping[str, np.ndarray], program: Program) -> float:
    """Returns the largest absolute difference; raises RunError where it is too large, or the images have no values."""
    images = export_stablehlo.call(serialized, [check[name] for name in program.example])
    difference = float(np.max(np.abs(images - check[program.output])))
    exact = run.config.dtype == "float32" and export_stablehlo.platform_here() == "cpu"
    tolerance = _TOLERANCE if exact else _ROUNDED_TOLERANCE
    if not difference <= tolerance:  # NaN too
        raise RunError(
            f"the exported program's images differ from those of {run.workdir} at step {run.step} by "
            f"up to {difference:.3g}, and {tolerance:g} is allowed; nothing was written, choose another --step if "
            "its weights are not finite, and otherwise report it with the versions of jax and jaxgan."
        )
    return difference


def _example(run: Run, args: argparse.Namespace, shapes: Mapping[str, str]) -> str:
    if run.directions:
        return export_example.translating(
            jax_version=jax.__version__, direction=args.direction, shape=shapes["images"], seed=args.seed
        )
    return export_example.text(
        jax_version=jax.__version__,
        latent_dim=run.latent_dim,
        num_classes=run.num_classes,
        height=run.data.height,
        width=run.data.width,
        channels=run.data.channels,
    )


def _describe(
    run: Run, args: argparse.Namespace, chosen: Mapping[str, Any], shapes: Mapping[str, str], folder: Path
) -> dict[str, Any]:
    """Returns config.json: what the generator is, what was chosen, and the checksums of the other files."""
    config = config_tree.to_dict(run.config)
    if run.directions:
        inputs: dict[str, Any] = {"direction": args.direction, "inputs": dict(shapes)}
        chosen = {name: value for name, value in chosen.items() if name not in ("bn", "truncation")}
    else:
        inputs = {
            "latent_dim": run.latent_dim,
            "num_classes": run.num_classes,
            "class_names": list(run.data.class_names) if run.num_classes else [],
        }
    return {
        "format": _FORMAT,
        **inputs,
        "resolution": run.config.data.resolution,
        "height": run.data.height,
        "width": run.data.width,
        "channels": run.data.channels,
        "dtype": run.config.dtype,
        **chosen,
        "model": config["model"],
        "jax_version": jax.__version__,
        "sha256": {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())},
    }


def _say(message: str) -> None:
    """What is waited for: lowering and compiling take a minute for the largest networks."""
    print(f"{message} ...", file=sys.stderr, flush=True)
