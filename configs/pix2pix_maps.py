"""pix2pix: maps from aerial photographs at 256x256, from pairs.

Paper: Isola et al. 2017, arXiv:1611.07004; settings of github.com/junyanz/pytorch-CycleGAN-and-pix2pix (U-Net with 8
  levels and dropout, 70x70 PatchGAN on input and output, cross-entropy, L1 weight 100, batch 1, resized to 286 and
  cropped, flips). 200 epochs of 1,096 pairs; the learning rate falls to 0 over the second half.
Published: no score of this objective; samples in the paper.
Command: python -m jaxgan.main --config=configs/pix2pix_maps.py --config.data.source=aligned:/path/to/maps:train
Hardware: 1 GPU.
Measured: not yet measured.
"""

from ml_collections import ConfigDict

from jaxgan import config as jaxgan_config


def get_config() -> ConfigDict:
    config = jaxgan_config.default()
    epoch = 1_096  # updates: pairs, one per update
    config.total_steps = 200 * epoch
    config.batch_size = 1
    config.data.source = "aligned:datasets/maps:train"
    config.data.paired = True
    config.data.resolution = 256
    config.data.crop = "random:286"
    config.data.flip = True
    config.method.name = "pix2pix"
    config.method.loss = "non_saturating"
    config.method.d_loss_scale = 0.5
    config.method.paired_l1_weight = 100.0
    config.model.name = "unet"
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
