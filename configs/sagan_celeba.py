"""torchgan's self-attention tutorial on CelebA at 64x64: for parity, not as advice.

Paper: Zhang et al. 2018, arXiv:1805.08318; the tutorial's networks are DCGAN's with spectral norm and plain attention
  (1,107,229 + 798,083 parameters), trained with a weight-clipped Wasserstein loss.
Deviations from the tutorial: attention is normalised over the keys, as in the paper (torchgan normalises over the
  queries); spectral vectors rest in evaluation; weights are clipped after the update (torchgan: before it), and the
  spectral vectors are not clipped.
Warning: the tutorial's own log shows D's gradients vanish from its fourth epoch on: clipping every parameter of D,
  batch norm gains included, fights spectral norm. `configs/sagan_celeba_nonlocal.py` is the better recipe for faces.
Command: python -m jaxgan.main --config=configs/sagan_celeba.py --config.data.source=folder:/path/to/img_align_celeba
Hardware: 1 GPU.
Measured: not yet measured on CelebA; 600 steps on 1,582 faces stand in docs/results.md.
"""

from ml_collections import ConfigDict

from jaxgan import config as jaxgan_config


def get_config() -> ConfigDict:
    config = jaxgan_config.default()
    config.total_steps = 63_320  # 20 epochs of 202,599 images
    config.batch_size = 64
    config.data.source = "tfds:celeb_a:train"
    config.data.resolution = 64
    config.data.crop = "center:160"
    config.model.name = "dcgan"
    config.model.conditional = False
    config.model.latent_dim = 100
    config.model.g_widths = (256, 128, 64, 32)
    config.model.d_widths = (32, 64, 128, 256)
    config.model.g_attention_resolutions = (16, 32)
    config.model.d_attention_resolutions = (8, 4)
    config.model.attention_kind = "plain"
    config.model.g_slope = 0.2
    config.model.d_slope = 0.2
    config.model.d_batch_norm = "all"
    config.model.conv_bias = True
    config.model.last_activation = False
    config.model.d_tanh = True
    config.model.sn_axis = "in"
    config.model.init = "torch"
    config.method.loss = "wasserstein"
    config.method.weight_clip = 0.01
    config.method.joint_forward = False
    config.g_optim.lr = 1e-4
    config.d_optim.lr = 4e-4
    return config
