"""Non-local SAGAN on LSUN church (outdoor) at 64x64.

Paper: as configs/sagan_celeba_nonlocal.py, whose networks and optimizers this recipe takes. The repository resizes the
  images to 64x64 without a crop.
Published: FID at 100k steps 66.5 unmasked, 178.9 at span 3; those runs were evaluated without their mask, so the
  numbers say little.
Command: python -m jaxgan.main --config=configs/sagan_lsun_church_nonlocal.py \\
  --config.data.source=folder:/path/to/church_images
Hardware: 1 GPU.
Measured: not yet measured.
"""

from ml_collections import ConfigDict

from jaxgan import config as jaxgan_config


def get_config() -> ConfigDict:
    config = jaxgan_config.default()
    config.total_steps = 100_000
    config.batch_size = 64
    config.data.source = "tfds:lsun/church_outdoor:train"
    config.data.resolution = 64
    config.data.crop = "none"
    config.model.name = "dcgan"
    config.model.conditional = False
    config.model.latent_dim = 128
    config.model.g_widths = (512, 256, 128, 64)
    config.model.d_widths = (64, 128, 256, 512)
    config.model.g_attention_resolutions = (16, 32)
    config.model.d_attention_resolutions = (8, 4)
    config.model.attention_kind = "plain"
    config.model.attention_span = 3
    config.model.g_spectral_norm = "hidden"
    config.model.d_spectral_norm = "hidden"
    config.model.d_slope = 0.1
    config.model.d_batch_norm = "none"
    config.model.conv_bias = True
    config.model.sn_axis = "in"
    config.model.init = "torch"
    config.method.joint_forward = False
    for optim in (config.g_optim, config.d_optim):
        optim.b1 = 0.0
        optim.b2 = 0.9
    return config
