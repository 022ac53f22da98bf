"""torchgan's CycleGAN tutorial: street scenes and their label maps at 64x64, for parity.

Paper: Zhu et al. 2017, arXiv:1703.10593, as changed by the CycleGAN tutorial of github.com/torchgan/torchgan: 5
  residual blocks, 4x4 kernels, a discriminator whose hidden convolutions all have stride 2, no image pool, cycle weight
  1/2 per direction, and a paired L1 which the tutorial calls identity loss: it compares G_ab(a) with b, so the data
  must be pairs in equal order. The original objective, for data without pairs, is that of configs/cyclegan_maps.py.
Published: the tutorial's log: G loss 1.075 after the first epoch, 0.617 after the eighth; no score.
Command: python -m jaxgan.main --config=configs/cyclegan_cityscapes.py \\
  --config.data.source=unpaired:/path/to/cityscapes
Hardware: 1 GPU.
Measured: not yet measured.
"""

from ml_collections import ConfigDict

from jaxgan import config as jaxgan_config


def get_config() -> ConfigDict:
    config = jaxgan_config.default()
    config.total_steps = 4_700  # 100 epochs of 2,975 pairs
    config.batch_size = 64
    config.data.source = "unpaired:datasets/cityscapes"
    config.data.paired = True
    config.data.resolution = 64
    config.data.crop = "center:64"
    config.method.name = "cyclegan"
    config.method.loss = "least_squares"
    config.method.gan_weight = 0.25
    config.method.cycle_weight = 0.5
    config.method.identity_weight = 0.0
    config.method.paired_l1_weight = 0.5
    config.method.pool_size = 0
    config.method.d_loss_scale = 0.5
    config.model.name = "cyclegan"
    config.model.num_res_blocks = 5
    config.model.g_kernel = 4
    config.model.d_last_stride = 2
    config.model.init = "torchgan"
    for optim in (config.g_optim, config.d_optim):
        optim.lr = 1e-4
        optim.b1 = 0.5
    config.sample.rows = 4
    config.sample.every_steps = 470
    config.checkpoint.every_steps = 470
    return config
