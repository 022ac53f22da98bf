"""A small class-conditional SAGAN on MNIST at 32x32.

Paper: Zhang et al. 2018, arXiv:1805.08318: spectral norm in both networks, self-attention, class-conditional batch
  norm, projection discriminator, hinge loss and two learning rates, reduced to 32x32 pixels and 10 classes.
Command: python -m jaxgan.main --config=configs/sagan_mnist.py --config.data.source=idx:/path/to/mnist
Hardware: 2 CPU cores.
Measured: docs/results.md.
"""

from ml_collections import ConfigDict

from jaxgan import config as jaxgan_config


def get_config() -> ConfigDict:
    config = jaxgan_config.default()
    config.total_steps = 6_500
    config.batch_size = 64
    config.data.source = "tfds:mnist:train"
    config.data.resolution = 32
    config.data.channels = 1
    config.model.latent_dim = 64
    config.model.g_widths = (128, 64, 32, 16)
    config.model.d_widths = (16, 32, 64, 128)
    config.model.attention_resolutions = (16,)
    config.g_optim.lr = 6e-4
    config.d_optim.lr = 2.4e-3
    for optim in (config.g_optim, config.d_optim):
        optim.schedule = "linear"  # at constant rates the weights swing to the end
        optim.decay_begin = 3_250
        optim.decay_steps = 3_250
    config.ema.halflife_images = 20_000
    config.checkpoint.every_steps = 500
    config.sample.every_steps = 500
    return config
