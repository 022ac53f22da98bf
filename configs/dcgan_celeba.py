"""DCGAN on aligned CelebA faces at 64x64.

Paper: Radford et al. 2015, arXiv:1511.06434 (1024 ... 128 maps in G, 64 ... 512 in D, batch 128, Adam 2e-4, b1 0.5).
Faces: the central 160x160 pixels of the 178x218 images, resized; the whole width without a crop would be squashed.
Command: python -m jaxgan.main --config=configs/dcgan_celeba.py --config.data.source=folder:/path/to/img_align_celeba
Hardware: 1 GPU.
Measured: not yet measured.
"""

from ml_collections import ConfigDict

from jaxgan import config as jaxgan_config


def get_config() -> ConfigDict:
    config = jaxgan_config.default()
    config.total_steps = 40_000  # 25 epochs of 202,599 images
    config.batch_size = 128
    config.data.source = "tfds:celeb_a:train"
    config.data.resolution = 64
    config.data.crop = "center:160"
    config.model.name = "dcgan"
    config.model.conditional = False
    config.model.latent_dim = 100
    config.model.g_spectral_norm = "none"
    config.model.d_spectral_norm = "none"
    config.model.init = "normal"
    config.method.loss = "non_saturating"
    config.method.joint_forward = False  # batch norm in D: real and fake must not share a batch
    for optim in (config.g_optim, config.d_optim):
        optim.lr = 2e-4
        optim.b1 = 0.5
        optim.b2 = 0.999
    return config
