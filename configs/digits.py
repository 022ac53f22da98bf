"""A small class-conditional SAGAN on the 1,797 handwritten digits that ship inside scikit-learn.

Paper: Zhang et al. 2018, arXiv:1805.08318, reduced to 16x16 pixels, 10 classes.
Command: python -m jaxgan.main --config=configs/digits.py
Hardware: 2 CPU cores.
Measured: docs/results.md: three seeds on three quarters of the images, judged by a support vector machine.
"""

from ml_collections import ConfigDict

from jaxgan import config as jaxgan_config


def get_config() -> ConfigDict:
    config = jaxgan_config.default()
    config.total_steps = 1_400
    config.batch_size = 64
    config.data.source = "digits"
    config.data.resolution = 16
    config.data.channels = 1
    config.model.latent_dim = 64
    config.model.g_widths = (64, 32, 16)
    config.model.d_widths = (16, 64, 128)  # a wider D keeps the classes from collapsing to few shapes
    config.model.attention_resolutions = (8,)
    config.g_optim.lr = 6e-4
    config.d_optim.lr = 2.4e-3
    config.ema.halflife_images = 6_000
    config.checkpoint.every_steps = 500
    config.sample.every_steps = 500
    return config
