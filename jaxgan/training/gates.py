"""The gates of attention layers, which begin at 0: a layer whose gate stays there does nothing."""

from __future__ import annotations

from collections.abc import Mapping

import jax

from jaxgan.core.state import NetState

GATE = "gate"  # name of the parameter in `layers/attention.py`


def attention_gates(nets: Mapping[str, NetState]) -> dict[str, float]:
    """Returns {"d_attention_layers_0_gate": value, ...} of every scalar parameter called `gate`; waits for the device.

    Args:
      nets: networks of a training state, by name.
    """
    found = {
        "_".join([name, *(str(getattr(key, "key", key)) for key in path)]): value
        for name, net in nets.items()
        for path, value in jax.tree_util.tree_leaves_with_path(net.params)
        if getattr(path[-1], "key", None) == GATE and value.ndim == 0
    }
    return {name: float(value) for name, value in jax.device_get(found).items()}
