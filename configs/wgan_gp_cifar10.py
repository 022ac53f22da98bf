"""WGAN-GP on CIFAR-10 at 32x32, unconditional ResNet.

Paper: Gulrajani et al. 2017, arXiv:1704.00028, section 5.4 and appendix C: IS 7.86. Critic without normalisation, mean
  pooling, penalty 10, five critic steps, Adam 2e-4 with betas (0, 0.9), lr falling linearly to 0 over 100k G steps,
  128 maps.
Command: python -m jaxgan.main --config=configs/wgan_gp_cifar10.py --config.data.source=cifar10:/path/to/cifar-10
Hardware: 1 GPU.
Measured: not yet measured.
"""

from ml_collections import ConfigDict

from jaxgan import config as jaxgan_config


def get_config() -> ConfigDict:
    config = jaxgan_config.default()
    config.total_steps = 100_000
    config.batch_size = 64
    config.num_d_steps = 5
    config.data.source = "tfds:cifar10:train"
    config.data.resolution = 32
    config.model.conditional = False
    config.model.g_widths = (128, 128, 128, 128)
    config.model.d_widths = (128, 128, 128, 128)
    config.model.d_num_down = 2
    config.model.d_pool = "mean"
    config.model.g_spectral_norm = "none"
    config.model.d_spectral_norm = "none"
    config.method.loss = "wasserstein"
    config.method.penalty = "wgan_gp"
    config.method.penalty_weight = 10.0
    for optim, updates in ((config.g_optim, 100_000), (config.d_optim, 500_000)):
        optim.lr = 2e-4
        optim.b2 = 0.9
        optim.schedule = "linear"
        optim.decay_steps = updates
    return config
