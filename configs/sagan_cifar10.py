"""SAGAN on CIFAR-10 at 32x32, class-conditional.

Paper: Zhang et al. 2018, arXiv:1805.08318; settings of PyTorch-StudioGAN's CIFAR-10 SAGAN: 256 maps throughout G,
  128 in D, attention at 16x16, five D steps per G step, Adam 2e-4 with betas (0.5, 0.999), orthogonal weights,
  flips, 100k steps.
Published there: IS 8.64, FID 10.35.
Deviation: class tables without spectral norm, which StudioGAN has and which is the prime suspect where its ImageNet
  SAGAN fails to reproduce; batch norm eps 1e-5 (1e-4 there).
Command: python -m jaxgan.main --config=configs/sagan_cifar10.py --config.data.source=cifar10:/path/to/cifar-10
Hardware: 1 GPU.
Measured: not yet measured as published; a narrow form for an hour of two CPU cores in docs/results.md.
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
    config.data.flip = True
    config.model.g_widths = (256, 256, 256, 256)
    config.model.d_widths = (128, 128, 128, 128)
    config.model.d_num_down = 2
    config.model.attention_resolutions = (16,)
    config.model.init = "orthogonal"
    for optim in (config.g_optim, config.d_optim):
        optim.lr = 2e-4
        optim.b1 = 0.5
        optim.b2 = 0.999
    return config
