"""`python -m jaxgan convert`: weights of other programs become a workdir that every command opens."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jaxgan import config as config_lib
from jaxgan import config_tree
from jaxgan.commands import convert_biggan, convert_nnabla, convert_spectral
from jaxgan.commands.convert_arrays import describe_file
from jaxgan.commands.convert_layout import GeneratorLayout, model_fields
from jaxgan.commands.errors import CommandError

if TYPE_CHECKING:
    from jaxgan.commands.convert_workdir import Converted

HELP = "turn the weights of nnabla's SAGAN or of BigGAN-PyTorch into a workdir"

_IMAGENET = "tfds:imagenet2012:train"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares `nnabla FILE.h5` and `biggan_pytorch G.pth [--discriminator D.pth]`, both with --workdir."""
    formats = parser.add_subparsers(dest="format", metavar="FORMAT", required=True)
    nnabla = formats.add_parser("nnabla", help="params_*.h5 of the SAGAN of nnabla-examples")
    nnabla.add_argument("file", metavar="FILE.h5", type=Path, help="generator and discriminator")
    biggan = formats.add_parser("biggan_pytorch", help="state dictionaries of SAGANs of BigGAN-PyTorch")
    biggan.add_argument("file", metavar="G.pth", type=Path, help="generator (.pth, or .safetensors)")
    biggan.add_argument(
        "--discriminator", metavar="D.pth", type=Path, help="without it the workdir's discriminator is a new one"
    )
    for each in (nnabla, biggan):
        each.add_argument("--workdir", type=Path, required=True, help="folder to write")
        each.add_argument("--step", type=int, help="updates that G has had; default: by nnabla's file name, else 0")
        each.add_argument("--data", metavar="SOURCE", help="the data they were trained on, for commands that read it")
        each.add_argument("--overwrite", action="store_true", help="replace settings and checkpoints in --workdir")


def run(args: argparse.Namespace) -> None:
    """Converts and says what was found.

    Raises:
      CommandError, ConfigError, CheckpointError: with one sentence for the user.
    """
    from jaxgan.commands.convert_workdir import write_workdir

    if args.step is not None and not 0 <= args.step < 2**31:
        raise CommandError(f"--step (={args.step}) must be the number of updates that G has had, in [0, 2^31).")
    for file in (args.file, getattr(args, "discriminator", None)):
        if file is not None and not file.is_file():
            raise CommandError(f"{file} is not a file; give the weights to convert.")
    converted = _nnabla(args) if args.format == "nnabla" else _biggan(args)
    write_workdir(converted, args.workdir, overwrite=args.overwrite)
    model, side = converted.config.model, converted.config.data.resolution
    attention = sorted({*model.attention_resolutions, *model.g_attention_resolutions}) or "none"
    print(
        f"{args.workdir}: step {converted.step:,}, {side} x {side} pixels, {converted.num_classes:,} classes, "
        f"generator widths {', '.join(map(str, model.g_widths))}, attention at {attention}"
    )


def _nnabla(args: argparse.Namespace) -> Converted:
    from jaxgan.commands.convert_workdir import Converted

    file: Path = args.file
    arrays, snapshots = convert_nnabla.split_snapshots(convert_nnabla.read(file))
    convert_nnabla.check_scopes(arrays, file=file)
    g = convert_nnabla.generator_layout(arrays, file=file)
    d = convert_nnabla.discriminator_layout(arrays, file=file)
    networks = {
        "g": convert_nnabla.generator_variables(arrays, g, file=file),
        "d": convert_nnabla.discriminator_variables(arrays, d, file=file),
    }
    if unlike := convert_spectral.unlike_snapshots(arrays, snapshots):
        print(
            f"jaxgan: warning: {file}: {', '.join(unlike)} differ from W / sigma by more than a tenth, so they belong "
            "to another training than their W; they are not used.",
            file=sys.stderr,
        )
    return Converted(
        config=_config(g, args.data, model_fields(g, d), nnabla=True),
        num_classes=g.num_classes,
        step=convert_nnabla.step_of(file) if args.step is None else args.step,
        networks=networks,
        origin={"format": "nnabla", "networks": {"g": describe_file(file), "d": describe_file(file)}},
    )


def _biggan(args: argparse.Namespace) -> Converted:
    from jaxgan.commands.convert_workdir import Converted

    file: Path = args.file
    arrays = convert_biggan.read(file)
    g, d = convert_biggan.generator_layout(arrays, file=file), None
    networks = {"g": convert_biggan.generator_variables(arrays, g, file=file)}
    origin: dict[str, Any] = {"g": describe_file(file), "d": "drawn anew"}
    if (other := args.discriminator) is not None:
        d_arrays = convert_biggan.read(other)
        d = convert_biggan.discriminator_layout(d_arrays, file=other)
        networks["d"] = convert_biggan.discriminator_variables(d_arrays, d, file=other)
        origin["d"] = describe_file(other)
    return Converted(
        config=_config(g, args.data, model_fields(g, d), nnabla=False),
        num_classes=g.num_classes,
        step=args.step or 0,
        networks=networks,
        origin={"format": "biggan_pytorch", "networks": origin},
    )


def _config(g: GeneratorLayout, source: str | None, fields: dict[str, Any], *, nnabla: bool) -> config_lib.Config:
    """Returns the settings of `configs/sagan_imagenet_nnabla.py` or `configs/sagan_imagenet.py`, with these networks.

    Fake labels without replacement, nnabla's, need as many classes as images; with fewer classes they are uniform.
    """
    data = {
        "source": source or (_IMAGENET if g.num_classes == 1_000 else "folder:UNKNOWN"),
        "resolution": g.resolution,
        "channels": g.image_channels,
    }
    tree: dict[str, Any] = {"total_steps": 1_000_000, "batch_size": 256, "model": fields, "data": data}
    if nnabla:
        fields |= {"attention_kind": "plain", "init": "glorot_sqrt2", "bn_decay": 0.999}
        data["scaling"] = "nnabla"
        fake_labels = "without_replacement" if g.num_classes >= tree["batch_size"] else "uniform"
        tree["method"] = {"joint_forward": False, "fake_labels": fake_labels}
    else:
        fields |= {"attention_kind": "pooled", "sn_eps": 1e-8}
        tree["ema"] = {"halflife_images": 1_774_356.0, "start_step": 2_000}
    return config_tree.from_dict(tree)
