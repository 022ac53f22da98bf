"""A run of a few kilobytes that was never trained, for tests of what is done with runs."""

import dataclasses

import jax
import numpy as np

from jaxgan import config_tree
from jaxgan.config import (
    CheckpointConfig,
    Config,
    DataConfig,
    EmaConfig,
    MeshConfig,
    MethodConfig,
    ModelConfig,
    OptimConfig,
)
from jaxgan.core import sharding
from jaxgan.core.checkpoint import Checkpointer
from jaxgan.data.spec import DataSpec
from jaxgan.methods.base import initial_state
from jaxgan.methods.registry import build_method
from jaxgan.training import workdir as workdir_lib

CONFIG = Config(
    batch_size=8,
    data=DataConfig(resolution=8, channels=1),
    model=ModelConfig(latent_dim=4, g_widths=(8, 8), d_widths=(8, 8), d_spectral_norm="none"),
    ema=EmaConfig(halflife_images=50),
    g_optim=OptimConfig(name="sgd"),  # without momentum, hence without arrays of its own
    d_optim=OptimConfig(name="sgd"),
)
# Opened in a fraction of the time; its generator ignores the labels.
PERCEPTRON = dataclasses.replace(
    CONFIG, model=ModelConfig(name="mlp", latent_dim=4, g_hidden=(8,), d_hidden=(8,)), ema=EmaConfig()
)
UNCONDITIONAL = dataclasses.replace(PERCEPTRON, model=dataclasses.replace(PERCEPTRON.model, conditional=False))
TRANSLATING = Config(
    data=DataConfig(source="unpaired:mine", resolution=8, width=12, crop="none"),
    method=MethodConfig(name="cyclegan", loss="least_squares", pool_size=2),
    model=ModelConfig(name="cyclegan", g_channels=4, d_channels=4, num_res_blocks=1, d_num_layers=1, init="normal"),
    ema=EmaConfig(halflife_images=50),
    g_optim=OptimConfig(name="sgd"),
    d_optim=OptimConfig(name="sgd"),
)
PAIRED = dataclasses.replace(
    TRANSLATING,
    data=DataConfig(source="aligned:mine", resolution=8, width=16, crop="none", paired=True),
    method=MethodConfig(name="pix2pix", loss="non_saturating"),
    model=ModelConfig(name="unet", g_channels=4, d_channels=4, d_num_layers=1, init="normal"),
)
# The name of the last class looks like the id of another one, and two names differ in what no file name can hold.
DATA = DataSpec(8, 8, 1, 5, ("cat", "dog", "a/b", "a b", "2"), 100, "0123456789abcdef")
DOMAINS = DataSpec(8, 12, 3, 0, (), 5, "fedcba9876543210", num_images_b=4)
PAIRS = dataclasses.replace(DOMAINS, width=16, num_images=4)


def write_run(folder, config=CONFIG, data=DATA, steps=(3,), method=None):
    """Writes a workdir with a checkpoint of random weights and statistics for each step; returns its folder."""
    method = build_method(config, data) if method is None else method
    state, _ = initial_state(method, seed=0, sharding=sharding.replicated(sharding.make_mesh(MeshConfig(data=1))))
    workdir_lib.claim(folder, config, data, accept_changes=True, is_primary=True)
    checkpointer = Checkpointer(folder / "checkpoints", CheckpointConfig(keep=9))
    for step in steps:
        rng = np.random.default_rng(step)

        # Class tables start at zero, running statistics at 0 and 1, averages as copies: everything is moved apart.
        def moved(x, low, rng=rng):
            return jax.device_put(np.asarray(x) + rng.uniform(low, 0.4, x.shape).astype(x.dtype), x.sharding)

        def apart(part):
            params = jax.tree.map(lambda x: moved(x, -0.4), part.params)
            return part.replace(params=params, stats=jax.tree.map(lambda x: moved(x, 0.0), part.stats))

        nets, ema = ({name: apart(part) for name, part in parts.items()} for parts in (state.nets, state.ema))
        facts = {"config": config_tree.to_dict(config), "data": workdir_lib.describe_data(data)}
        checkpointer.save(step, state.replace(nets=nets, ema=ema), facts)
    checkpointer.wait()
    checkpointer.close()
    return folder
