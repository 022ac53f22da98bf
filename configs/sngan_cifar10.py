"""SNGAN on CIFAR-10 at 32x32, unconditional.

Paper: Miyato et al. 2018, arXiv:1802.05957, table 4 (ResNet): IS 8.22, FID 21.7 (5k samples). Spectral norm in D alone,
  hinge, five D steps per G step, Adam 2e-4 with betas (0, 0.9), lr falling linearly to 0 over 50k G steps, 256 maps in
  G, 128 in D.
Deviation: one batch of 64 for both networks; the paper's code updates G on 128 fakes.
Command: python -m jaxgan.main --config=configs/sngan_cifar10.py --config.data.source=cifar10:/path/to/cifar-10
Hardware: 1 GPU.
Measured: not yet measured.
"""

from ml_collections import ConfigDict

from jaxgan import config as jaxgan_config


def get_config() -> ConfigDict:
    config = jaxgan_config.default()
    config.total_steps = 50_000
    config.batch_size = 64
    config.num_d_steps = 5
    config.data.source = "tfds:cifar10:train"
    config.data.resolution = 32
    config.model.conditional = False
    config.model.g_widths = (256, 256, 256, 256)
    config.model.d_widths = (128, 128, 128, 128)
    config.model.d_num_down = 2
    config.model.g_spectral_norm = "none"
    config.model.init = "glorot_sqrt2"
    for optim, updates in ((config.g_optim, 50_000), (config.d_optim, 250_000)):
        optim.lr = 2e-4
        optim.b2 = 0.9
        optim.schedule = "linear"
        optim.decay_steps = updates
    return config
