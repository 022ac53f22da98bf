"""Non-local SAGAN on CelebA at 64x64: attention that may not look at its own neighbourhood.

Paper: Zhang et al. 2018, arXiv:1805.08318, with the mask of github.com/zhengs81/SAGAN_PyTorch: each query's window of
  (2 span + 1)^2 pixels is masked before the softmax, in both attention layers of G and of D (3,832,885 + 3,175,299
  parameters). At span 3 every row of D's 4x4 attention is fully masked, which means uniform attention there.
Variants: full (no mask), span0, span1, span2, span3 (default), span4; a path ending in `:span0` chooses one.
Published: FID 25.25 at 100k steps with span 3 against 30.43 without mask, single seed; the unmasked run itself reaches
  25.00 at 301k, and on LSUN church the order reverses. docs/nonlocal.md tells the whole of it.
Command: python -m jaxgan.main --config=configs/sagan_celeba_nonlocal.py:span3 \\
  --config.data.source=folder:/path/to/img_align_celeba
Hardware: 1 GPU.
Measured: not yet measured on CelebA; 600 steps on 1,582 faces stand in docs/results.md, a reduced comparison in
  docs/nonlocal.md.
"""

import difflib

from ml_collections import ConfigDict

from jaxgan import config as jaxgan_config

SPANS = {"full": -1, "span0": 0, "span1": 1, "span2": 2, "span3": 3, "span4": 4}


def get_config(variant: str = "span3") -> ConfigDict:
    if variant not in SPANS:
        near = difflib.get_close_matches(variant, SPANS, n=2)
        hint = f"did you mean {' or '.join(near)}?" if near else "choose one of them."
        raise jaxgan_config.ConfigError(f"the variant {variant!r} must be one of {', '.join(SPANS)}; {hint}")
    config = jaxgan_config.default()
    config.total_steps = 100_000
    config.batch_size = 64
    config.data.source = "tfds:celeb_a:train"
    config.data.resolution = 64
    config.data.crop = "center:160"
    config.model.name = "dcgan"
    config.model.conditional = False
    config.model.latent_dim = 128
    config.model.g_widths = (512, 256, 128, 64)
    config.model.d_widths = (64, 128, 256, 512)
    config.model.g_attention_resolutions = (16, 32)
    config.model.d_attention_resolutions = (8, 4)
    config.model.attention_kind = "plain"
    config.model.attention_span = SPANS[variant]
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
