"""Which settings have a PyTorch peer, and that it has the same networks; the cases of the command line."""

import dataclasses
from pathlib import Path

import jax
import pytest
from flax import nnx

from benchmarks.cases import PRESETS, load_case, override
from benchmarks.peer_settings import NoPeer, peer_settings
from jaxgan import config_rules, config_tree
from jaxgan.config import Config, ConfigError
from jaxgan.methods.registry import build_networks

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
NO_ATTENTION = "model.attention_resolutions="


def one_device(preset, *overrides):
    return load_case(preset, None, overrides, None)


@pytest.mark.parametrize(
    "preset, overrides",
    [
        ("sagan32", []),
        ("sagan32", ["model.g_channels=8", "model.d_channels=24", "model.d_wide=false", NO_ATTENTION]),
        ("sagan32", ["model.conditional=false", "data.channels=1", "model.latent_dim=7", "data.resolution=16",
                     "model.attention_resolutions=8"]),
        ("sagan32", ["model.g_widths=40,32,24,16", "model.d_widths=8,16,24,32", "model.d_num_down=3"]),
        ("sagan32", ["data.resolution=64", "model.attention_resolutions=16,32"]),
        ("sagan128", []),
        ("dcgan64", []),
        ("dcgan64", ["model.g_widths=", "model.d_widths=", "model.g_channels=8", "model.d_channels=4"]),
        ("sngan32", []),
        ("sagan32", ["model.d_num_down=2", "model.g_spectral_norm=none"]),
        ("sagan32", ["model.d_widths=8,8,8,8,8"]),
    ],
)  # fmt: skip
def test_the_peer_has_the_same_networks(preset, overrides):
    torch = pytest.importorskip("torch")
    from benchmarks import torch_peer

    case = one_device(preset, *overrides)
    settings = torch_peer.PeerConfig(**peer_settings(case.config, case.num_classes))
    with torch.device("meta"):
        peers = torch_peer._make_networks(settings, settings.latent_dim, settings.num_classes or 0)
    for build, peer in zip(build_networks(case.config, case.num_classes), peers, strict=True):
        abstract = nnx.eval_shape(lambda build=build: nnx.state(build(nnx.Rngs(0)), nnx.Param))
        # As multisets of sizes: weights of the two are laid out differently.
        sizes = sorted(leaf.size for leaf in jax.tree.leaves(abstract))
        assert sizes == sorted(p.numel() for p in peer.parameters())


def test_settings_carry_over():
    case = one_device(
        "sagan32", "num_d_steps=3", "batch_size=16", "g_optim.lr=0.5", "d_optim.lr=0.25", "dtype=bfloat16"
    )
    settings = peer_settings(case.config, case.num_classes)
    expected = {
        "kind": "sagan", "resolution": 32, "image_channels": 3, "batch_size": 16, "num_d_steps": 3, "latent_dim": 128,
        "g_widths": (512, 256, 128, 64), "d_widths": (64, 128, 256, 512), "g_lr": 0.5, "d_lr": 0.25,
        "dtype": "bfloat16", "num_classes": 10, "attention_resolutions": (16,), "wide": True, "num_down": 0,
        "g_spectral_norm": True,
    }  # fmt: skip
    assert settings.pop("ema_decay") == pytest.approx(0.9999**0.25, abs=1e-8)  # per image, as jaxgan counts
    assert settings == expected
    assert peer_settings(one_device("dcgan64").config, 0)["ema_decay"] == 0.0


@pytest.mark.parametrize(
    "preset, change",
    [(preset, change) for preset in ("sagan32", "dcgan64") for change in (
        "data.scaling=nnabla", "data.width=128", "mesh.data=2", "mesh.data=0", "model.base_size=8",
        "model.g_attention_resolutions=16", "model.d_attention_resolutions=16", "method.penalty=r1",
        "method.weight_clip=0.1", "method.d_loss_scale=0.5", "method.d_stats_in_g_step=false",
        "method.reuse_latents=true", "method.fake_labels=without_replacement", "g_optim.name=sgd",
        "num_microbatches=2", "model.bn_groups=2",
        "d_optim.name=rmsprop", "g_optim.grad_clip_norm=1", "d_optim.grad_clip_norm=1", "model.g_spectral_norm=hidden",
        "model.d_spectral_norm=hidden", "method.loss=wasserstein", "model.name=mlp")]
    + [("sagan32", change) for change in (
        "model.sn_iters=2", "model.attention_kind=plain", "model.d_pool=mean", "method.joint_forward=false",
        "model.attention_resolutions=4")]
    + [("cyclegan256", change) for change in (
        "num_d_steps=2", "model.conv_bias=true", "model.g_kernel=4", "model.d_last_stride=2", "method.loss=hinge",
        "method.paired_l1_weight=1", "ema.halflife_images=5", "data.width=512", "method.d_loss_scale=0.5")]
    + [("dcgan64", change) for change in (
        "model.attention_resolutions=16", "model.conditional=true", "model.g_slope=0.1", "model.d_slope=0.1",
        "model.d_batch_norm=all", "model.conv_bias=true", "model.last_activation=false", "model.d_tanh=true",
        "method.joint_forward=true")],
)  # fmt: skip
def test_what_the_peer_lacks_is_named(preset, change):
    case = one_device(preset)
    peer_settings(case.config, case.num_classes)
    with pytest.raises(NoPeer) as caught:
        peer_settings(override(case.config, [change]), case.num_classes)
    message = str(caught.value)
    assert f"has no {change.partition('=')[0]}=" in message and message.endswith("; jaxgan is timed alone.")
    assert message.count("=") == 1  # nothing else is blamed


@pytest.mark.parametrize(
    "recipe, has_peer",
    [("sagan_imagenet", True), ("digits", True), ("sagan_cifar10", True), ("sngan_cifar10", True),
     ("cyclegan_maps", True), ("pix2pix_maps", False), ("sagan_imagenet_nnabla", False),
     ("dcgan_celeba", True), ("dcgan_mnist", False), ("gan_mnist", False), ("wgan_gp_cifar10", False)],
)  # fmt: skip
def test_recipes_with_and_without_a_peer(recipe, has_peer):
    case = load_case(None, str(CONFIGS / f"{recipe}.py"), [], 10)
    assert case.name == recipe
    if has_peer:
        peer_settings(case.config, case.num_classes)
    else:
        with pytest.raises(NoPeer):
            peer_settings(case.config, case.num_classes)


def test_sagan128_is_the_recipe():
    recipe = load_case(None, str(CONFIGS / "sagan_imagenet.py"), [], None)
    preset = PRESETS["sagan128"]
    changes = config_tree.differences(preset.config, recipe.config)
    assert set(changes) == {"data.source"} and preset.num_classes == recipe.num_classes == 1000


@pytest.mark.parametrize(
    "preset, recipe, other",
    [("sngan32", "sngan_cifar10", set()), ("cyclegan256", "cyclegan_maps", {"data.crop", "data.flip"})],
)
def test_further_presets_are_recipes_but_for_their_schedules(preset, recipe, other):
    recipe = load_case(None, str(CONFIGS / f"{recipe}.py"), [], 1)
    changes = config_tree.differences(PRESETS[preset].config, recipe.config)
    schedules = {name for name in changes if name.split(".")[-1] in ("schedule", "decay_begin", "decay_steps")}
    assert set(changes) - schedules == other | {"data.source"}


def test_the_cyclegan_peer_has_the_same_networks():
    torch = pytest.importorskip("torch")
    from benchmarks import torch_cyclegan_peer
    from jaxgan.methods.registry import build_translation_networks

    case = one_device("cyclegan256", "model.num_res_blocks=2", "model.g_channels=8", "model.d_num_layers=2")
    settings = peer_settings(case.config, 0)
    assert settings.pop("kind") == "cyclegan"
    config = torch_cyclegan_peer.CycleGANPeerConfig(**settings)
    with torch.device("meta"):
        peers = torch_cyclegan_peer.make_generators(config), torch_cyclegan_peer.make_discriminators(config)
    assert [set(nets) for nets in peers] == [{"g_ab", "g_ba"}, {"d_a", "d_b"}]
    for build, nets in zip(build_translation_networks(case.config), peers, strict=True):
        abstract = nnx.eval_shape(lambda build=build: nnx.state(build(nnx.Rngs(0)), nnx.Param))
        sizes = sorted(leaf.size for leaf in jax.tree.leaves(abstract))
        for net in nets.values():
            assert sizes == sorted(p.numel() for p in net.parameters())


def test_the_presets_are_valid_and_have_one_device():
    for name in PRESETS:
        config = one_device(name).config
        config_rules.validate(config, num_devices=1)
        assert config.mesh.data == 1
    assert one_device("sagan32", "mesh.data=4").config.mesh.data == 4


def test_classes():
    recipe = str(CONFIGS / "sagan_cifar10.py")
    assert load_case(None, recipe, [], None).num_classes == 1000
    assert load_case(None, recipe, [], 10).num_classes == 10
    assert load_case("sagan32", None, [], None).num_classes == 10
    assert load_case("sagan32", None, [], 3).num_classes == 3
    assert load_case("sagan32", None, ["model.conditional=False"], 3).num_classes == 0
    assert load_case("dcgan64", None, [], 3).num_classes == 0


def test_overrides_take_the_type_of_their_field():
    settings = ["config.batch_size=8", "g_optim.lr=1", "model.d_wide=False", "model.g_widths=(4, 8)", "data.crop=none",
                "model.d_widths=", "data.source=12"]  # fmt: skip
    config = override(dataclasses.replace(Config()), settings)
    assert (config.batch_size, config.g_optim.lr, config.model.d_wide) == (8, 1.0, False)
    assert (config.model.g_widths, config.model.d_widths) == ((4, 8), ())
    assert (config.data.crop, config.data.source) == ("none", "12")
    assert type(config.g_optim.lr) is float
    assert config_tree.differences(Config(), config).keys() == {
        "batch_size", "g_optim.lr", "model.d_wide", "model.g_widths", "data.crop", "data.source"
    }  # fmt: skip


@pytest.mark.parametrize(
    "text, message",
    [
        ("batch_size", "must have the form FIELD=VALUE"),
        ("batch_sise=3", "did you mean `batch_size`"),
        ("modell.g_channels=3", "did you mean `model`"),
        ("batch_size.big=3", "has no fields inside"),
        ("batch_size=many", r"config.batch_size \(='many'\) must be of type int"),
        ("model.g_widths=4,x", "must be a list of int"),
    ],
)
def test_wrong_overrides(text, message):
    with pytest.raises(ConfigError, match=message):
        override(Config(), [text])
