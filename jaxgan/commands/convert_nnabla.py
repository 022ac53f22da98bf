"""Parameter files of the SAGAN in sony/nnabla-examples (`image-generation/sagan`, formerly `GANs/sagan`).

The file is HDF5, one dataset per parameter under its scope's path. Networks: `models.py` of that example. Files of
before February 2021 hold a `W_sn` beside every spectrally normalised `W`: the divided weight of the last training
forward, one update old, which today's code does not read either.

Numbers: the example is NCHW and its kernels OIHW. Its class tables of gains start at 1 and have no 1 added, so 1 is
subtracted. It iterates the projection's spectral vector on the features' side and jaxgan on the classes' side, see
`convert_spectral.py`. It divides by sqrt(|v|^2 + 1e-12) where jaxgan divides by |v| + 1e-12: a relative difference of
5e-13 / |v|^2.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxgan.commands import convert_arrays
from jaxgan.commands.convert_arrays import Arrays, Slot, channels_last, first_map_side, to_hwio
from jaxgan.commands.convert_layout import DiscriminatorLayout, GeneratorLayout
from jaxgan.commands.convert_spectral import class_side_vector
from jaxgan.commands.errors import CommandError

KIND = "the parameters of nnabla's SAGAN"
_SMALLEST_LIMIT, _MOST_COMPRESSION = 2**26, 16  # bytes that the datasets may have, and how often the file's
_G, _D = "generator", "discriminator"


def read(path: Path) -> dict[str, np.ndarray]:
    """Reads every dataset of an HDF5 file by its path.

    Raises:
      CommandError: h5py is not installed, or the file is none of HDF5.
    """
    try:
        import h5py
    except ImportError as error:
        raise CommandError(f"reading {path} needs h5py; install it with `pip install h5py`.") from error
    arrays: dict[str, np.ndarray] = {}
    left = max(_SMALLEST_LIMIT, _MOST_COMPRESSION * path.stat().st_size)

    def collect(name: str, item: Any) -> None:
        nonlocal left
        if not isinstance(item, h5py.Dataset):
            return
        if item.external or item.is_virtual:
            raise ValueError(f"{name} in it lies in another file")
        if item.dtype.kind not in "biuf" or item.shape is None:
            raise ValueError(f"{name} in it does not hold numbers")
        left -= item.nbytes
        if left < 0:
            raise ValueError(f"{name} in it says to have {item.nbytes:,} bytes")
        arrays[name] = np.asarray(item[...])

    try:
        with h5py.File(path, "r") as file:
            file.visititems(collect)
    except Exception as error:  # a parser fed with arbitrary bytes raises almost anything
        reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
        raise CommandError(f"{path} is not a readable HDF5 file ({reason}); give nnabla's params_*.h5.") from error
    return arrays


def step_of(path: Path) -> int:
    """Returns the updates of G by the file's name: `params_999999.h5` is saved after the 1,000,000th; else 0."""
    match = re.fullmatch(r"params_([0-9]{1,9})", path.stem)
    return int(match[1]) + 1 if match else 0


def split_snapshots(arrays: Arrays) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Returns (arrays of today's naming, the `W_sn` snapshots beside their `W` in files of before February 2021)."""
    old = {n: a for n, a in arrays.items() if n.endswith("/W_sn") and n.removesuffix("_sn") in arrays}
    return {name: array for name, array in arrays.items() if name not in old}, old


def generator_layout(arrays: Arrays, *, file: Path) -> GeneratorLayout:
    """Reads the sizes of G off its arrays; CommandError where one that is needed for it is missing or misshapen."""
    k = _num_blocks(arrays, _G, file)
    blocks = [f"{_G}/block-{i}" for i in range(1, k + 1)]
    first, table, linear = f"{blocks[0]}/conv1/sn_conv/W", f"{blocks[0]}/conv1/ccbn/gamma/embed/W", f"{_G}/sn_affine/W"
    lasts = [f"{block}/conv2/sn_conv/W" for block in blocks]
    ranks = {first: 4, table: 2, linear: 2, f"{_G}/sn_conv/W": 4} | dict.fromkeys(lasts, 4)
    convert_arrays.require(arrays, ranks, file=file, kind=KIND)
    widths = (arrays[first].shape[1], *(arrays[last].shape[0] for last in lasts))
    return GeneratorLayout(
        latent_dim=arrays[linear].shape[0],
        num_classes=arrays[table].shape[0],
        image_channels=arrays[f"{_G}/sn_conv/W"].shape[0],
        base_size=first_map_side(arrays[linear].shape[1], widths[0], file=file),
        widths=widths,
        attention=tuple(i + 1 for i in _attention(arrays, _G, widths[1:], file)),
        spectral_norm=_has_spectral_norm(arrays, _G),
    )


def discriminator_layout(arrays: Arrays, *, file: Path) -> DiscriminatorLayout:
    """Reads the sizes of D off its arrays; CommandError where one that is needed for it is missing or misshapen."""
    count = _num_blocks(arrays, _D, file)
    first, table = f"{_D}/block-1/conv1/sn_conv/W", f"{_D}/projection/embed/W"
    lasts = [f"{_D}/block-{i}/conv2/sn_conv/W" for i in range(1, count + 1)]
    convert_arrays.require(arrays, {first: 4, table: 2} | dict.fromkeys(lasts, 4), file=file, kind=KIND)
    widths = tuple(arrays[last].shape[0] for last in lasts)
    return DiscriminatorLayout(
        num_classes=arrays[table].shape[0],
        image_channels=arrays[first].shape[1],
        widths=widths,
        num_down=count - 1,
        wide=False,
        attention=_attention(arrays, _D, widths, file),
        spectral_norm=_has_spectral_norm(arrays, _D),
    )


def generator_variables(arrays: Arrays, g: GeneratorLayout, *, file: Path) -> dict[str, Any]:
    """Returns {"params", "stats"} of G; CommandError naming what is missing, unknown or misshapen."""
    return convert_arrays.place(_of(arrays, _G), _generator_slots(g), file=file, kind=KIND)


def discriminator_variables(arrays: Arrays, d: DiscriminatorLayout, *, file: Path) -> dict[str, Any]:
    """Returns {"params", "stats"} of D; CommandError naming what is missing, unknown or misshapen."""
    tree = convert_arrays.place(_of(arrays, _D), _discriminator_slots(d), file=file, kind=KIND)
    if d.spectral_norm:
        embed = tree["stats"]["head"]["embed"]
        embed["u"] = class_side_vector(tree["params"]["head"]["embed"]["table"], embed["u"])
    return tree


def check_scopes(arrays: Arrays, *, file: Path) -> None:
    """CommandError naming datasets that belong to neither network."""
    unknown = [name for name in arrays if not name.startswith((f"{_G}/", f"{_D}/"))]
    convert_arrays.refuse_if({"unknown": unknown}, file=file, kind=KIND)


def _of(arrays: Arrays, scope: str) -> dict[str, np.ndarray]:
    return {name: array for name, array in arrays.items() if name.startswith(f"{scope}/")}


def _num_blocks(arrays: Arrays, scope: str, file: Path) -> int:
    numbers = [match[1] for name in arrays if (match := re.match(rf"{scope}/block-([0-9]+)/", name))]
    return convert_arrays.number_of_blocks(numbers, file=file, kind=KIND, first=f"{scope}/block-1")


def _has_spectral_norm(arrays: Arrays, scope: str) -> bool:
    """False where the example ran with --not-sn, which leaves no singular vectors at all."""
    return any(name.endswith("/singular-vector") for name in _of(arrays, scope))


def _attention(arrays: Arrays, scope: str, widths: Sequence[int], file: Path) -> tuple[int, ...]:
    """Returns the index into `widths` of the block that attention follows: its place shows in its channels alone."""
    name = f"{scope}/attn/f/sn_conv/W"
    if not _of(arrays, f"{scope}/attn"):
        return ()
    convert_arrays.require(arrays, {name: 4}, file=file, kind=KIND)
    channels = arrays[name].shape[1]
    places = [index for index, width in enumerate(widths) if width == channels]
    if len(places) != 1:
        raise CommandError(
            f"{file}: {name} (={channels} channels) must fit after exactly one block of {scope}, whose blocks have "
            f"{', '.join(map(str, widths))} channels; the place of the attention cannot be read off this file."
        )
    return tuple(places)


def _conv(scope: str, path: str, cin: int, cout: int, size: int, *, sn: bool, bias: bool = True) -> list[Slot]:
    slots = [Slot(f"{scope}/sn_conv/W", (cout, cin, size, size), f"params/{path}/kernel", to_hwio)]
    slots += [Slot(f"{scope}/sn_conv/b", (cout,), f"params/{path}/bias")] if bias else []
    return slots + ([Slot(f"{scope}/sn_conv/singular-vector", (cout,), f"stats/{path}/u")] if sn else [])


def _attention_slots(scope: str, path: str, channels: int, *, sn: bool) -> list[Slot]:
    # softmax(f' g) over the pixels of f: f are the keys and g the queries.
    small: dict[str, Any] = dict(cin=channels, cout=channels // 8, size=1, sn=sn, bias=False)
    return [
        *_conv(f"{scope}/f", f"{path}/key", **small),
        *_conv(f"{scope}/g", f"{path}/query", **small),
        *_conv(f"{scope}/h", f"{path}/value", channels, channels, 1, sn=sn, bias=False),
        Slot(f"{scope}/gamma", (1, 1, 1, 1), f"params/{path}/gate", lambda gamma: gamma.reshape(())),
    ]


def _class_norm(scope: str, path: str, num_classes: int, channels: int) -> list[Slot]:
    return [
        Slot(f"{scope}/ccbn/mean", (1, channels, 1, 1), f"stats/{path}/norm/mean", np.ravel),
        Slot(f"{scope}/ccbn/var", (1, channels, 1, 1), f"stats/{path}/norm/var", np.ravel),
        Slot(f"{scope}/ccbn/gamma/embed/W", (num_classes, channels), f"params/{path}/gain", lambda gain: gain - 1),
        Slot(f"{scope}/ccbn/beta/embed/W", (num_classes, channels), f"params/{path}/bias"),
    ]


def _generator_slots(g: GeneratorLayout) -> list[Slot]:
    sn, outputs = g.spectral_norm, g.widths[0] * g.base_size**2
    reorder = channels_last(g.widths[0], g.base_size)
    slots = [
        Slot(f"{_G}/sn_affine/W", (g.latent_dim, outputs), "params/linear/kernel", reorder),
        Slot(f"{_G}/sn_affine/b", (outputs,), "params/linear/bias", reorder),
    ]
    slots += [Slot(f"{_G}/sn_affine/singular-vector", (outputs,), "stats/linear/u", reorder)] if sn else []
    for i, (cin, cout) in enumerate(zip(g.widths, g.widths[1:], strict=False), start=1):
        scope, path = f"{_G}/block-{i}", f"blocks/{i}"
        slots += _class_norm(f"{scope}/conv1", f"{path}/norm1", g.num_classes, cin)
        slots += _conv(f"{scope}/conv1", f"{path}/conv1", cin, cout, 3, sn=sn)
        slots += _class_norm(f"{scope}/conv2", f"{path}/norm2", g.num_classes, cout)
        slots += _conv(f"{scope}/conv2", f"{path}/conv2", cout, cout, 3, sn=sn)
        slots += _conv(f"{scope}/shortcut", f"{path}/shortcut", cin, cout, 1, sn=sn)
    for i in g.attention:
        slots += _attention_slots(f"{_G}/attn", f"attention/layers/{i}", g.widths[i], sn=sn)
    last = (1, g.widths[-1], 1, 1)
    slots += [
        Slot(f"{_G}/bn/{name}", last, f"{path}", np.ravel)
        for name, path in {
            "gamma": "params/norm/scale",
            "beta": "params/norm/bias",
            "mean": "stats/norm/mean",
            "var": "stats/norm/var",
        }.items()
    ]
    return slots + _conv(_G, "conv", g.widths[-1], g.image_channels, 3, sn=sn)


def _discriminator_slots(d: DiscriminatorLayout) -> list[Slot]:
    sn, features = d.spectral_norm, d.widths[-1]
    slots: list[Slot] = []
    for i, cout in enumerate(d.widths):
        scope, path = f"{_D}/block-{i + 1}", f"blocks/{i}" if i else "first_block"
        cin = d.widths[i - 1] if i else d.image_channels
        hidden = cin if i else cout
        slots += _conv(f"{scope}/conv1", f"{path}/conv1", cin, hidden, 3, sn=sn)
        slots += _conv(f"{scope}/conv2", f"{path}/conv2", hidden, cout, 3, sn=sn)
        if i < d.num_down or cin != cout:
            slots += _conv(f"{scope}/shortcut", f"{path}/shortcut", cin, cout, 1, sn=sn)
    for i in d.attention:
        slots += _attention_slots(f"{_D}/attn", f"attention/layers/{i}", d.widths[i], sn=sn)
    slots += [
        Slot(f"{_D}/sn_affine/W", (features, 1), "params/head/linear/kernel"),
        Slot(f"{_D}/sn_affine/b", (1,), "params/head/linear/bias"),
        Slot(f"{_D}/projection/embed/W", (d.num_classes, features), "params/head/embed/table"),
    ]
    if sn:
        slots += [
            Slot(f"{_D}/sn_affine/singular-vector", (1,), "stats/head/linear/u"),
            Slot(f"{_D}/projection/embed/singular-vector", (features,), "stats/head/embed/u"),
        ]
    return slots
