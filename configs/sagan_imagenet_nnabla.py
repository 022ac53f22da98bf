"""SAGAN on ImageNet at 128x128 as nnabla-examples trains it.

Paper: Zhang et al. 2018, arXiv:1805.08318.
Parity: sony/nnabla-examples, image-generation/sagan: thin D, plain attention at 32x32, sqrt(2) gain on the 3x3 residual
  convolutions, x/128 - 1 + U(0, 1/128), fake labels without replacement in a batch, real and fake in two forwards,
  batch norm decay 0.999, no EMA. Batch: 256, that of the published weights (its README command makes 512).
Published: IS about 72, FID about 9.5, under a protocol of its own that compares with nothing else.
Deviation: batch norm sees the global batch; nnabla's sees each GPU's 64 images.
Command: python -m jaxgan.main --config=configs/sagan_imagenet_nnabla.py
Hardware: 8 accelerators with 16 GiB, or fewer with more memory; nnabla: 9 days on 4 V100.
Measured: not yet measured.
"""

from ml_collections import ConfigDict

from jaxgan import config as jaxgan_config


def get_config() -> ConfigDict:
    config = jaxgan_config.default()
    config.total_steps = 1_000_000
    config.batch_size = 256
    config.data.source = "tfds:imagenet2012:train"
    config.data.resolution = 128
    config.data.scaling = "nnabla"
    config.data.num_threads = 16
    config.model.attention_resolutions = (32,)
    config.model.attention_kind = "plain"
    config.model.d_wide = False
    config.model.init = "glorot_sqrt2"
    config.model.bn_decay = 0.999
    config.method.joint_forward = False
    config.method.fake_labels = "without_replacement"
    config.checkpoint.every_steps = 5_000
    config.checkpoint.keep_every = 100_000
    config.sample.every_steps = 5_000
    config.log.every_steps = 100
    return config
