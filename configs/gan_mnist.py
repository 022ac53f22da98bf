"""The simple GAN: two-layer perceptrons on MNIST.

Paper: Goodfellow et al. 2014, arXiv:1406.2661, with the non-saturating generator loss.
Parity: the blog tutorial "Understand Pytorch via GAN" (218,128 + 100,609 parameters, batch 32, Adam 3e-4 with default
  betas, half the sum as D's loss, G judged on the noise that D has just seen, 50 epochs).
Command: python -m jaxgan.main --config=configs/gan_mnist.py --config.data.source=idx:/path/to/mnist
Hardware: 1 CPU core is enough.
Measured: docs/results.md.
"""

from ml_collections import ConfigDict

from jaxgan import config as jaxgan_config


def get_config() -> ConfigDict:
    config = jaxgan_config.default()
    config.total_steps = 93_750  # 50 epochs of 60,000 images
    config.batch_size = 32
    config.data.source = "tfds:mnist:train"
    config.data.resolution = 28
    config.data.channels = 1
    config.model.name = "mlp"
    config.model.conditional = False
    config.model.latent_dim = 64
    config.model.g_slope = 0.1
    config.model.d_slope = 0.1
    config.model.init = "torch"
    config.method.loss = "non_saturating"
    config.method.d_loss_scale = 0.5
    config.method.joint_forward = False
    config.method.reuse_latents = True
    for optim in (config.g_optim, config.d_optim):
        optim.lr = 3e-4
        optim.b1 = 0.9
        optim.b2 = 0.999
    return config
