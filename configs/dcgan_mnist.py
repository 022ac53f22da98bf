"""DCGAN on MNIST at 64x64.

Paper: Radford et al. 2015, arXiv:1511.06434.
Parity: the DCGAN of the blog tutorial that configs/gan_mnist.py follows (12,654,337 + 2,763,585 parameters, batch 128,
  5 epochs, half the sum as D's loss, G judged on the noise that D has just seen). Its batch norm gains start at
  N(0, 0.02), a slip: DCGAN's mean is 1, which this recipe takes. `--config.model.bn_scale_mean=0` gives the blog's.
Command: python -m jaxgan.main --config=configs/dcgan_mnist.py --config.data.source=idx:/path/to/mnist
Hardware: 1 GPU; on 2 CPU cores a step takes seconds.
Measured: a narrow form at 32x32, in docs/results.md.
"""

from ml_collections import ConfigDict

from jaxgan import config as jaxgan_config


def get_config() -> ConfigDict:
    config = jaxgan_config.default()
    config.total_steps = 2_345  # 5 epochs of 60,000 images
    config.batch_size = 128
    config.data.source = "tfds:mnist:train"
    config.data.resolution = 64
    config.data.channels = 1
    config.model.name = "dcgan"
    config.model.conditional = False
    config.model.latent_dim = 100
    config.model.g_widths = (1024, 512, 256, 128)
    config.model.d_widths = (64, 128, 256, 512)
    config.model.g_spectral_norm = "none"
    config.model.d_spectral_norm = "none"
    config.model.init = "normal"
    config.method.loss = "non_saturating"
    config.method.d_loss_scale = 0.5
    config.method.joint_forward = False  # batch norm in D: real and fake must not share a batch
    config.method.reuse_latents = True
    for optim in (config.g_optim, config.d_optim):
        optim.lr = 2e-4
        optim.b1 = 0.5
        optim.b2 = 0.999
    return config
