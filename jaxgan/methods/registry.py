"""From a configuration to the method it describes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from flax import nnx

from jaxgan.config import TRANSLATING, Config, ConfigError, ModelConfig
from jaxgan.core import ema
from jaxgan.core.optim import make_optimizer
from jaxgan.data.spec import DataSpec
from jaxgan.methods.adversarial import Adversarial
from jaxgan.methods.cyclegan import CYCLEGAN_LEAST_SQUARES, CycleGAN
from jaxgan.methods.pix2pix import Pix2Pix
from jaxgan.models import cyclegan, dcgan, mlp, resnet, unet

Builder = Callable[[nnx.Rngs], nnx.Module]


def build_method(config: Config, data: DataSpec) -> Adversarial | CycleGAN | Pix2Pix:
    """Returns the method that `config` describes, for such data.

    Args:
      config: validated settings.
      data: its classes and domains are read.

    Raises:
      ConfigError: data with two domains for a method that needs one, or the other way round; a conditional model on
        unlabelled data, or more labels without replacement than there are classes.
    """
    translates = config.method.name in TRANSLATING
    if translates != data.has_domains:
        found, fix = ("two domains", "cyclegan or pix2pix") if data.has_domains else ("one domain", "adversarial")
        raise ConfigError(
            f"config.method.name (={config.method.name!r}) does not fit config.data (source {config.data.source!r}) of "
            f"{found}; set it to {fix}, or give {'another source' if data.has_domains else 'unpaired:PATH'}."
        )
    if config.method.name == "cyclegan":
        return _build_cyclegan(config)
    if config.method.name == "pix2pix":
        return _build_pix2pix(config)
    return _build_adversarial(config, data.num_classes)


def _build_adversarial(config: Config, num_classes: int) -> Adversarial:
    if config.model.conditional and not num_classes:
        raise ConfigError(
            f"config.model.conditional (=True) needs labels, but config.data (source {config.data.source!r}) has none; "
            "set config.model.conditional=False, or put the images of each class into a sub-folder of its own."
        )
    classes = num_classes if config.model.conditional else 0
    method = config.method
    if method.fake_labels == "without_replacement" and config.batch_size > max(classes, 0):
        raise ConfigError(
            f"config.method.fake_labels (='without_replacement') needs batch_size (={config.batch_size}) <= number of "
            f"classes (={classes}); set it to 'uniform'."
        )
    generator, discriminator = build_networks(config, classes)
    return Adversarial(
        generator=_reporting(generator),
        discriminator=_reporting(discriminator),
        latent_dim=config.model.latent_dim,
        num_classes=classes,
        loss_fns=method.loss,
        num_d_steps=config.num_d_steps,
        num_microbatches=config.num_microbatches,
        penalty=method.penalty,
        penalty_weight=method.penalty_weight,
        weight_clip=method.weight_clip,
        d_loss_scale=method.d_loss_scale,
        joint_forward=method.joint_forward,
        d_stats_in_g_step=method.d_stats_in_g_step,
        reuse_latents=method.reuse_latents,
        fake_labels=method.fake_labels,
        **_updates(config),
    )


def _build_cyclegan(config: Config) -> CycleGAN:
    method = config.method
    generator, discriminator = build_translation_networks(config)
    return CycleGAN(
        generator=_reporting(generator),
        discriminator=_reporting(discriminator),
        image_shape=(*config.data.height_width, config.data.channels),
        loss_fns=CYCLEGAN_LEAST_SQUARES if method.loss == "least_squares" else method.loss,
        gan_weight=method.gan_weight,
        cycle_weight=method.cycle_weight,
        identity_weight=method.identity_weight,
        paired_l1_weight=method.paired_l1_weight,
        pool_size=method.pool_size,
        d_loss_scale=method.d_loss_scale,
        **_updates(config),
    )


def _build_pix2pix(config: Config) -> Pix2Pix:
    method = config.method
    generator, discriminator = build_translation_networks(config)
    return Pix2Pix(
        generator=_reporting(generator),
        discriminator=_reporting(discriminator),
        direction=method.direction,
        loss_fns=method.loss,
        gan_weight=method.gan_weight,
        l1_weight=method.paired_l1_weight,
        d_loss_scale=method.d_loss_scale,
        **_updates(config),
    )


def _updates(config: Config) -> dict[str, Any]:
    """Optimizers and moving average, which all methods take under the same names."""
    halflife = config.ema.halflife_images
    return {
        "g_tx": make_optimizer(config.g_optim),
        "d_tx": make_optimizer(config.d_optim),
        "ema_decay": ema.decay_of_halflife(halflife, config.batch_size) if halflife else None,
        "ema_start_step": config.ema.start_step,
    }


def _reporting(build: Builder) -> Builder:
    """The networks check their own arguments; here those are the user's settings."""

    def build_or_explain(rngs: nnx.Rngs) -> nnx.Module:
        try:
            return build(rngs)
        except ValueError as error:
            raise ConfigError(f"config.model describes no network: {error}") from error

    return build_or_explain


def build_networks(config: Config, num_classes: int) -> tuple[Builder, Builder]:
    """Returns the builders of G and D; their arguments are the fields of `ModelConfig` that the family reads."""
    model = config.model
    image: dict[str, Any] = {
        "resolution": config.data.height_width,
        "init": model.init,
        "dtype": jnp.dtype(config.dtype),
    }
    g_image: dict[str, Any] = image | {"out_channels": config.data.channels, "latent_dim": model.latent_dim}
    d_image: dict[str, Any] = image | {"in_channels": config.data.channels}
    if model.name == "mlp":
        return (
            lambda rngs: mlp.MLPGenerator(**g_image, hidden=model.g_hidden, slope=model.g_slope, rngs=rngs),
            lambda rngs: mlp.MLPDiscriminator(**d_image, hidden=model.d_hidden, slope=model.d_slope, rngs=rngs),
        )
    g_kwargs: dict[str, Any] = g_image | _shared(model, "g")
    d_kwargs: dict[str, Any] = d_image | _shared(model, "d")
    norm: dict[str, Any] = {"bn_decay": model.bn_decay, "bn_eps": model.bn_eps}
    g_kwargs |= {"bn_groups": model.bn_groups}
    if model.name == "resnet":
        g_kwargs |= {"remat": model.remat}
        d_kwargs |= {"remat": model.remat, "wide": model.d_wide, "num_down": model.d_num_down, "pool": model.d_pool}
        return (
            lambda rngs: resnet.ResNetGenerator(**g_kwargs, **norm, num_classes=num_classes, rngs=rngs),
            lambda rngs: resnet.ResNetDiscriminator(**d_kwargs, num_classes=num_classes, rngs=rngs),
        )
    dcgan_kwargs: dict[str, Any] = norm | {
        "conv_bias": model.conv_bias,
        "last_activation": model.last_activation,
        "bn_scale_mean": model.bn_scale_mean,
    }
    g_kwargs |= dcgan_kwargs | {"slope": model.g_slope, "sn_axis": model.sn_axis}
    d_kwargs |= dcgan_kwargs | {"slope": model.d_slope, "batch_norm": model.d_batch_norm, "tanh": model.d_tanh}
    return (
        lambda rngs: dcgan.DCGANGenerator(**g_kwargs, rngs=rngs),
        lambda rngs: dcgan.DCGANDiscriminator(**d_kwargs, rngs=rngs),
    )


def _shared(model: ModelConfig, network: str) -> dict[str, Any]:
    """What the convolutional families have in common; `network` is "g" or "d"."""
    attention = model.attention_resolutions + getattr(model, f"{network}_attention_resolutions")
    return {
        "channels": getattr(model, f"{network}_channels"),
        "widths": getattr(model, f"{network}_widths"),
        "base_size": model.base_size,
        "attention_resolutions": attention,
        "attention_kind": model.attention_kind,
        "attention_span": model.attention_span,
        "spectral_norm": getattr(model, f"{network}_spectral_norm"),
        "sn_iters": model.sn_iters,
        "sn_eps": model.sn_eps,
    }


def build_translation_networks(config: Config) -> tuple[Builder, Builder]:
    """Returns the builders of G and D that translate images; pix2pix's D sees input and output together."""
    model, channels = config.model, config.data.channels
    shared: dict[str, Any] = {"init": model.init, "dtype": jnp.dtype(config.dtype)}
    g_kwargs: dict[str, Any] = shared | {
        "in_channels": channels,
        "out_channels": channels,
        "channels": model.g_channels,
    }
    d_kwargs: dict[str, Any] = shared | {"channels": model.d_channels, "num_layers": model.d_num_layers}
    if model.name == "unet":
        g_kwargs |= {"resolution": config.data.height_width, "dropout": model.g_dropout}
        g_kwargs["running_stats"] = config.batch_size > 1  # a batch of one is normalised by itself, as the original's
        d_kwargs |= {"in_channels": 2 * channels, "norm": "batch"}
        return (
            lambda rngs: unet.UNetGenerator(**g_kwargs, rngs=rngs),
            lambda rngs: cyclegan.PatchDiscriminator(**d_kwargs, rngs=rngs),
        )
    g_kwargs |= {"num_res_blocks": model.num_res_blocks, "kernel": model.g_kernel, "conv_bias": model.conv_bias}
    g_kwargs |= {"remat": model.remat}
    d_kwargs |= {"in_channels": channels, "last_stride": model.d_last_stride, "conv_bias": model.conv_bias}
    return (
        lambda rngs: cyclegan.ResnetGenerator(**g_kwargs, rngs=rngs),
        lambda rngs: cyclegan.PatchDiscriminator(**d_kwargs, rngs=rngs),
    )
