"""Weights of the SAGAN (and SNGAN) generators and SAGAN discriminators of ajbrock/BigGAN-PyTorch.

The files are state dictionaries: `G.pth` or `G_ema.pth`, and `D.pth`. Networks: `BigGAN.py` and `layers.py` there, as
`scripts/launch_SAGAN_bs128x2_ema.sh` runs them: no --G_shared, no --hier, batch norm by class id.

What a file does not tell is taken as that script has it: ReLU, batch norm eps 1e-5, one power iteration. Its spectral
norm divides by max(|v|, 1e-8) where jaxgan divides by |v| + 1e-8: a relative difference of 1e-8 / |v|.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from jaxgan.commands import convert_arrays
from jaxgan.commands.convert_arrays import Arrays, Slot, channels_last, first_map_side, to_hwio
from jaxgan.commands.convert_layout import DiscriminatorLayout, GeneratorLayout
from jaxgan.commands.errors import CommandError

_G_KIND = "a SAGAN generator of BigGAN-PyTorch"
_D_KIND = "a SAGAN discriminator of BigGAN-PyTorch"
_FIX = "give the G.pth, G_ema.pth or D.pth that BigGAN-PyTorch saved"
# Beside the first singular vector: those of --num_G_SVs > 1, which change nothing, and the last singular values.
_UNUSED = re.compile(r".*\.(u[1-9]\d*|sv\d+|num_batches_tracked|accumulation_counter)")


def read(path: Path) -> dict[str, np.ndarray]:
    """Reads a state dictionary: `.safetensors` without PyTorch, everything else with it.

    Raises:
      CommandError: the library is not installed, or the file holds something else.
    """
    if path.suffix == ".safetensors":
        return _plain_names(_read_safetensors(path))
    return _plain_names(_read_torch(path))


def generator_layout(arrays: Arrays, *, file: Path) -> GeneratorLayout:
    """Reads the sizes of G off its arrays.

    Raises:
      CommandError: an array that is needed for it is missing or misshapen, or it is not a SAGAN.
    """
    _refuse_biggan(arrays, file)
    count = _num_blocks(arrays, file, _G_KIND)
    lasts = [f"blocks.{i}.0.conv2.weight" for i in range(count)]
    first, table, linear, conv = (
        "blocks.0.0.conv1.weight",
        "blocks.0.0.bn1.gain.weight",
        "linear.weight",
        "output_layer.2.weight",
    )
    ranks = {first: 4, table: 2, linear: 2, conv: 4} | dict.fromkeys(lasts, 4)
    convert_arrays.require(arrays, ranks, file=file, kind=_G_KIND)
    widths = (arrays[first].shape[1], *(arrays[last].shape[0] for last in lasts))
    return GeneratorLayout(
        latent_dim=arrays[linear].shape[1],
        num_classes=arrays[table].shape[0],
        image_channels=arrays[conv].shape[0],
        base_size=first_map_side(arrays[linear].shape[0], widths[0], file=file),
        widths=widths,
        attention=tuple(i + 1 for i in range(count) if _has_attention(arrays, i)),
        spectral_norm=_has_spectral_norm(arrays),
    )


def discriminator_layout(arrays: Arrays, *, file: Path) -> DiscriminatorLayout:
    """Reads the sizes of D off its arrays.

    Raises:
      CommandError: an array that is needed for it is missing or misshapen, or jaxgan has no such discriminator.
    """
    count = _num_blocks(arrays, file, _D_KIND)
    firsts = [f"blocks.{i}.0.conv1.weight" for i in range(count)]
    lasts = [f"blocks.{i}.0.conv2.weight" for i in range(count)]
    ranks = dict.fromkeys([*firsts, *lasts], 4) | {"embed.weight": 2, "linear.weight": 2}
    convert_arrays.require(arrays, ranks, file=file, kind=_D_KIND)
    channels, widths = arrays[firsts[0]].shape[1], tuple(arrays[last].shape[0] for last in lasts)
    if arrays[firsts[0]].shape[0] != widths[0]:
        raise CommandError(
            f"{file} is a discriminator trained with --D_thin, whose first block has {arrays[firsts[0]].shape[0]} "
            f"hidden channels where jaxgan's has {widths[0]}; convert its generator alone."
        )
    return DiscriminatorLayout(
        num_classes=arrays["embed.weight"].shape[0],
        image_channels=channels,
        widths=widths,
        num_down=1 + max((i for i in range(count) if f"blocks.{i}.0.conv_sc.weight" in arrays), default=0),
        wide=True,
        attention=tuple(i for i in range(count) if _has_attention(arrays, i)),
        spectral_norm=_has_spectral_norm(arrays),
    )


def generator_variables(arrays: Arrays, g: GeneratorLayout, *, file: Path) -> dict[str, Any]:
    """Returns {"params", "stats"} of G; CommandError naming what is missing, unknown or misshapen."""
    return convert_arrays.place(arrays, _generator_slots(g), file=file, kind=_G_KIND)


def discriminator_variables(arrays: Arrays, d: DiscriminatorLayout, *, file: Path) -> dict[str, Any]:
    """Returns {"params", "stats"} of D; CommandError naming what is missing, unknown or misshapen."""
    return convert_arrays.place(arrays, _discriminator_slots(d), file=file, kind=_D_KIND)


def _read_safetensors(path: Path) -> dict[str, np.ndarray]:
    try:
        from safetensors.numpy import load_file
    except ImportError as error:
        raise CommandError(f"reading {path} needs safetensors; install it with `pip install safetensors`.") from error
    try:
        return convert_arrays.check_numbers(load_file(path), file=path)
    except CommandError:
        raise
    except Exception as error:  # SafetensorError, and what NumPy says of types that it does not know
        reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
        raise CommandError(f"{path} is not a readable safetensors file ({reason}); {_FIX}.") from error


def _read_torch(path: Path) -> dict[str, np.ndarray]:
    try:
        import torch  # pyright: ignore[reportMissingImports]  # an option, not a requirement
    except ImportError as error:
        raise CommandError(
            f"reading {path} needs PyTorch; install it with `pip install torch`, or save the file as .safetensors."
        ) from error
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        if not isinstance(state, Mapping) or not all(isinstance(value, torch.Tensor) for value in state.values()):
            raise CommandError(f"{path} is not a state dictionary of tensors by name; {_FIX}.")
        # Views may say to be larger than their storage, and then a copy takes memory that the file does not have.
        if any(value.numel() > value.untyped_storage().nbytes() for value in state.values()):
            raise CommandError(f"{path} holds a tensor that is larger than its values; {_FIX}.")
        return {str(name): np.asarray(tensor.float().numpy()) for name, tensor in state.items()}
    except CommandError:
        raise
    except Exception as error:  # zip, pickle, end-of-file and runtime errors of PyTorch's
        # Their texts advise to load the file unsafely, so only their kind is said.
        raise CommandError(f"{path} is not a readable file of PyTorch ({type(error).__name__}); {_FIX}.") from error


def _plain_names(arrays: Arrays) -> dict[str, np.ndarray]:
    """Names without the prefix of DataParallel, and statistics of --mybn under the names they have without it."""
    if arrays and all(name.startswith("module.") for name in arrays):
        arrays = {name.removeprefix("module."): array for name, array in arrays.items()}
    plain = {}
    for name, array in arrays.items():
        if _UNUSED.fullmatch(name):
            continue
        counter = arrays.get(f"{name.rpartition('.')[0]}.accumulation_counter")
        if counter is not None and float(np.ravel(counter)[0]) > 0:
            array = array / np.ravel(counter)[0]  # standing statistics are saved as sums
        plain[name.replace(".bn.stored_", ".stored_")] = array
    return plain


def _refuse_biggan(arrays: Arrays, file: Path) -> None:
    if "shared.weight" in arrays:
        raise CommandError(
            f"{file} is a BigGAN (it holds shared.weight: classes share one embedding, --G_shared), which jaxgan has "
            "no generator for; give a SAGAN's file, trained without --G_shared and --hier."
        )
    if any(name.endswith(".bn.running_mean") for name in arrays):
        raise CommandError(
            f"{file} was trained with --cross_replica, whose batch norm adds the gain in evaluation where it "
            "multiplies by it in training, which jaxgan's does not; give a file trained without it."
        )


def _num_blocks(arrays: Arrays, file: Path, kind: str) -> int:
    numbers = [match[1] for name in arrays if (match := re.match(r"blocks\.([0-9]+)\.", name))]
    return convert_arrays.number_of_blocks(numbers, file=file, kind=kind, first="blocks.0") + 1


def _has_attention(arrays: Arrays, block: int) -> bool:
    return any(name.startswith(f"blocks.{block}.1.") for name in arrays)


def _has_spectral_norm(arrays: Arrays) -> bool:
    """False for --G_param other than SN, which leaves no singular vectors at all."""
    return any(name.endswith(".u0") for name in arrays)


def _conv(name: str, path: str, cin: int, cout: int, size: int, *, sn: bool, bias: bool = True) -> list[Slot]:
    slots = [Slot(f"{name}.weight", (cout, cin, size, size), f"params/{path}/kernel", to_hwio)]
    slots += [Slot(f"{name}.bias", (cout,), f"params/{path}/bias")] if bias else []
    return slots + ([Slot(f"{name}.u0", (1, cout), f"stats/{path}/u", np.ravel)] if sn else [])


def _linear(name: str, path: str, cin: int, cout: int, *, sn: bool, reorder: Any = lambda array: array) -> list[Slot]:
    slots = [
        Slot(f"{name}.weight", (cout, cin), f"params/{path}/kernel", lambda weight: reorder(weight.T)),
        Slot(f"{name}.bias", (cout,), f"params/{path}/bias", reorder),
    ]
    return slots + ([Slot(f"{name}.u0", (1, cout), f"stats/{path}/u", lambda u: reorder(u[0]))] if sn else [])


def _class_norm(name: str, path: str, num_classes: int, channels: int) -> list[Slot]:
    return [
        Slot(f"{name}.stored_mean", (channels,), f"stats/{path}/norm/mean"),
        Slot(f"{name}.stored_var", (channels,), f"stats/{path}/norm/var"),
        Slot(f"{name}.gain.weight", (num_classes, channels), f"params/{path}/gain"),
        Slot(f"{name}.bias.weight", (num_classes, channels), f"params/{path}/bias"),
    ]


def _attention(name: str, path: str, channels: int, *, sn: bool) -> list[Slot]:
    sizes = {
        "theta": ("query", channels, channels // 8),
        "phi": ("key", channels, channels // 8),
        "g": ("value", channels, channels // 2),
        "o": ("output", channels // 2, channels),
    }
    slots = [Slot(f"{name}.gamma", (), f"params/{path}/gate")]
    for theirs, (ours, cin, cout) in sizes.items():
        slots += _conv(f"{name}.{theirs}", f"{path}/{ours}", cin, cout, 1, sn=sn, bias=False)
    return slots


def _generator_slots(g: GeneratorLayout) -> list[Slot]:
    sn, outputs = g.spectral_norm, g.widths[0] * g.base_size**2
    slots = _linear("linear", "linear", g.latent_dim, outputs, sn=sn, reorder=channels_last(g.widths[0], g.base_size))
    for i, (cin, cout) in enumerate(zip(g.widths, g.widths[1:], strict=False)):
        name, path = f"blocks.{i}.0", f"blocks/{i + 1}"
        slots += _class_norm(f"{name}.bn1", f"{path}/norm1", g.num_classes, cin)
        slots += _conv(f"{name}.conv1", f"{path}/conv1", cin, cout, 3, sn=sn)
        slots += _class_norm(f"{name}.bn2", f"{path}/norm2", g.num_classes, cout)
        slots += _conv(f"{name}.conv2", f"{path}/conv2", cout, cout, 3, sn=sn)
        slots += _conv(f"{name}.conv_sc", f"{path}/shortcut", cin, cout, 1, sn=sn)
    for i in g.attention:
        slots += _attention(f"blocks.{i - 1}.1", f"attention/layers/{i}", g.widths[i], sn=sn)
    variables = {
        "gain": "params/norm/scale",
        "bias": "params/norm/bias",
        "stored_mean": "stats/norm/mean",
        "stored_var": "stats/norm/var",
    }
    slots += [Slot(f"output_layer.0.{name}", (g.widths[-1],), path) for name, path in variables.items()]
    return slots + _conv("output_layer.2", "conv", g.widths[-1], g.image_channels, 3, sn=sn)


def _discriminator_slots(d: DiscriminatorLayout) -> list[Slot]:
    sn, features = d.spectral_norm, d.widths[-1]
    slots: list[Slot] = []
    for i, cout in enumerate(d.widths):
        name, path = f"blocks.{i}.0", f"blocks/{i}" if i else "first_block"
        cin = d.widths[i - 1] if i else d.image_channels
        slots += _conv(f"{name}.conv1", f"{path}/conv1", cin, cout, 3, sn=sn)
        slots += _conv(f"{name}.conv2", f"{path}/conv2", cout, cout, 3, sn=sn)
        if i < d.num_down or cin != cout:
            slots += _conv(f"{name}.conv_sc", f"{path}/shortcut", cin, cout, 1, sn=sn)
    for i in d.attention:
        slots += _attention(f"blocks.{i}.1", f"attention/layers/{i}", d.widths[i], sn=sn)
    slots += _linear("linear", "head/linear", features, 1, sn=sn)
    slots.append(Slot("embed.weight", (d.num_classes, features), "params/head/embed/table"))
    return slots + ([Slot("embed.u0", (1, d.num_classes), "stats/head/embed/u", np.ravel)] if sn else [])
