"""SAGAN on ImageNet at 128x128: the canonical recipe.

Paper: Zhang et al. 2018, arXiv:1805.08318: IS 52.52, FID 18.65 (attention at 64x64, 1M steps, best scores reported).
Settings: those of BigGAN-PyTorch's SAGAN script, which is the only published setting known to reproduce the paper
  independently (mmgeneration: IS 69.53, FID 12.83 with EMA, 826k steps): wide D, pooled attention at 64x64, class
  tables without spectral norm, Glorot-uniform weights, no flips, b2 0.999, EMA 0.9999 from step 2,000
  (the paper has none, so
  scores of the averaged weights are not like for like). Batch norm sees the global batch, where that script's sees one
  GPU's 32 images. `--config.model.attention_resolutions=32` is the authors' released default.
Command: python -m jaxgan.main --config=configs/sagan_imagenet.py
Hardware: 8 accelerators with 16 GiB, or fewer with more memory.
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
    config.data.num_threads = 16
    config.model.attention_resolutions = (64,)
    config.model.sn_eps = 1e-8
    config.ema.halflife_images = 1_774_356  # decay 0.9999 at batch 256
    config.ema.start_step = 2_000
    config.checkpoint.every_steps = 5_000
    config.checkpoint.keep_every = 100_000
    config.sample.every_steps = 5_000
    config.log.every_steps = 100
    return config
