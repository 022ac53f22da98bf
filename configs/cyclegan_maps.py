"""CycleGAN between aerial photographs and maps at 256x256.

Paper: Zhu et al. 2017, arXiv:1703.10593; settings of github.com/junyanz/pytorch-CycleGAN-and-pix2pix (9 residual
  blocks, 70x70 PatchGAN, cycle weight 10, identity weight 5, pools of 50, batch 1, resized to 286 and cropped, flips).
  200 epochs of 1,096 images; the learning rate falls to
  0 over the second half, here with every update, there with every epoch. Convolutions in front of instance norm have no
  bias, which it would cancel.
Published: no score of this objective; samples in the paper.
Command: python -m jaxgan.main --config=configs/cyclegan_maps.py --config.data.source=unpaired:/path/to/maps
Hardware: 1 GPU.
Measured: a reduced form at 128x128, in docs/results.md.
"""

from ml_collections import ConfigDict

from jaxgan import config as jaxgan_config


def get_config() -> ConfigDict:
    config = jaxgan_config.default()
    epoch = 1_096  # updates: images of the larger domain, one per update
    config.total_steps = 200 * epoch
    config.batch_size = 1
    config.data.source = "unpaired:datasets/maps"
    config.data.resolution = 256
    config.data.crop = "random:286"
    config.data.flip = True
    config.method.name = "cyclegan"
    config.method.loss = "least_squares"
    config.model.name = "cyclegan"
    config.model.init = "normal"
    for optim in (config.g_optim, config.d_optim):
        optim.lr = 2e-4
        optim.b1 = 0.5
        optim.schedule = "linear"
        optim.decay_begin = 100 * epoch
        optim.decay_steps = 100 * epoch
    config.sample.rows = 4
    config.sample.every_steps = epoch
    config.checkpoint.every_steps = 5 * epoch
    return config
