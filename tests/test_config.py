"""The schema refuses what is wrong, in one sentence that tells the fix, and lists everything at once."""

import dataclasses

import pytest

from jaxgan import config as config_lib
from jaxgan import config_rules, config_tree
from jaxgan.config import Config, ConfigError, DataConfig, MethodConfig, ModelConfig, OptimConfig


def change(**groups) -> Config:
    base = Config()
    for name, value in groups.items():
        if isinstance(value, dict):
            value = dataclasses.replace(getattr(base, name), **value)
        base = dataclasses.replace(base, **{name: value})
    return base


def problems(**groups) -> str:
    with pytest.raises(ConfigError) as error:
        config_rules.validate(change(**groups))
    return str(error.value)


def test_the_default_is_valid_and_survives_the_round_trip():
    config_rules.validate(Config())
    assert config_tree.from_dict(config_tree.to_dict(Config())) == Config()
    assert config_tree.from_dict(config_lib.default().to_dict()) == Config()


def test_the_config_dict_is_locked():
    with pytest.raises(AttributeError):
        config_lib.default().batchsize = 3
    with pytest.raises(TypeError):
        config_lib.default().batch_size = "many"


def test_unknown_fields_are_named_with_the_nearest_known_one():
    with pytest.raises(ConfigError, match=r"config\.g_optim\.learning_rat is not a field") as error:
        config_tree.from_dict({"g_optim": {"learning_rat": 1.0}, "totl_steps": 4})
    assert "did you mean `total_steps`?" in str(error.value), "all problems at once"


@pytest.mark.parametrize(
    ("tree", "text"),
    [
        ({"batch_size": 2.5}, r"config\.batch_size \(=2\.5\) must be of type int"),
        ({"batch_size": True}, "must be of type int"),
        ({"model": 3}, "must be a group of fields"),
        ({"model": {"g_widths": [1, "a"]}}, "must be a list of int"),
    ],
)
def test_wrong_types(tree, text):
    with pytest.raises(ConfigError, match=text):
        config_tree.from_dict(tree)


def test_integers_are_fine_for_floats_and_lists_for_tuples():
    config = config_tree.from_dict({"g_optim": {"lr": 1}, "model": {"attention_resolutions": [8, 16]}})
    assert config.g_optim.lr == 1.0 and config.model.attention_resolutions == (8, 16)
    for metrics in (["fid", "kid"], ("fid,kid",), ["fid, kid"]):
        assert config_tree.from_dict({"eval": {"metrics": metrics}}).eval.metrics == ("fid", "kid")


@pytest.mark.parametrize(
    ("groups", "text"),
    [
        ({"batch_size": 0}, "config.batch_size (=0) must be positive."),
        ({"dtype": "float16"}, "config.dtype (='float16') must be one of float32, bfloat16."),
        ({"data": {"channels": 2}}, "config.data.channels (=2) must be one of 1, 3, 4."),
        ({"data": {"crop": "center:x"}}, "must be none, center or center:N"),
        ({"data": {"crop": "center:0"}}, "must be none, center or center:N"),
        ({"g_optim": {"b1": 1.0}}, "config.g_optim.b1 (=1.0) must lie in [0, 1)."),
        ({"g_optim": {"lr": float("nan")}}, "config.g_optim.lr (=nan) must be finite."),
        ({"ema": {"start_step": -1}}, "config.ema.start_step (=-1) must not be negative."),
        ({"d_optim": {"schedule": "linear"}}, "config.d_optim.decay_steps (=0) must be positive"),
        ({"eval": {"metrics": ("fid", "fdi")}}, "config.eval.metrics (='fdi') must be some of fid, is, kid, prdc"),
        ({"eval": {"metrics": ()}}, "config.eval.metrics (='') must be some of"),
        ({"eval": {"feature_dims": 100}}, "config.eval.feature_dims (=100) must be one of 64, 192, 768, 2048."),
        ({"eval": {"num_reference": -1}}, "config.eval.num_reference (=-1) must not be negative."),
        ({"data": {"resolution": 30}}, "config.data.resolution (=30 x 30 pixels) must be config.model.base_size (=4)"),
        ({"data": {"resolution": 96}}, "try base_size=6 or a resolution of 128"),
        ({"data": {"width": 33}}, "(=32 x 33 pixels)"),
        ({"model": {"attention_resolutions": (10,)}}, "is not the shorter side of any map there; maps: 4, 8, 16."),
        ({"model": {"g_attention_resolutions": (64,)}}, "maps: 4, 8, 16, 32."),
        ({"model": {"d_attention_resolutions": (8,), "d_num_down": 1}}, "maps: 16."),
        (
            {"model": {"name": "dcgan", "conditional": False, "g_attention_resolutions": (32,)}},
            "config.model.g_attention_resolutions (=32) is not the shorter side of any map there; maps: 4, 8, 16.",
        ),
        ({"model": {"attention_span": 2}}, "set config.model.attention_kind='plain'"),
        (
            {"model": {"name": "mlp", "conditional": False, "d_wide": False}},
            "config.model.d_wide (=False) has no effect",
        ),
        ({"model": {"name": "mlp"}}, "config.model.conditional (=True) is not supported by model.name='mlp'"),
        ({"model": {"name": "dcgan"}}, "config.model.conditional (=True) is not supported by model.name='dcgan'"),
        ({"method": {"penalty": "r1", "penalty_weight": 0.0}}, "turns the penalty off"),
        (
            {"model": {"name": "dcgan", "conditional": False}, "method": {"penalty": "wgan_gp"}},
            "batch norm in D mixes the images of a batch",
        ),
    ],
)
def test_wrong_values(groups, text):
    assert text in problems(**groups)


TRANSLATES = {"method": {"name": "cyclegan"}, "model": {"name": "cyclegan"}}
PAIRS = {"method": {"name": "pix2pix"}, "model": {"name": "unet"}, "data": {"paired": True}}


def test_settings_of_methods_that_translate_pass():
    config_rules.validate(config_tree.from_dict(TRANSLATES))
    config_rules.validate(config_tree.from_dict(PAIRS))


@pytest.mark.parametrize(
    ("groups", "text"),
    [
        (
            {"method": {"name": "cyclegan"}},
            "config.model.name (='resnet') must be cyclegan for method.name='cyclegan'.",
        ),
        ({"model": {"name": "unet"}}, "(='unet') must be resnet or dcgan or mlp for method.name='adversarial'."),
        ({"method": {"name": "cyclgan"}}, "must be one of adversarial, cyclegan, pix2pix. Did you mean cyclegan?"),
        ({"method": {"pool_size": 7}}, "config.method.pool_size (=7) has no effect for method.name='adversarial'"),
        ({"data": {"paired": True}}, "config.data.paired (=True) is for methods that translate"),
        (TRANSLATES | {"num_d_steps": 2}, "config.num_d_steps (=2) must be 1 for method.name='cyclegan'"),
        (TRANSLATES | {"data": {"scaling": "nnabla"}}, "config.data.scaling (='nnabla') must be symmetric"),
        (TRANSLATES | {"data": {"resolution": 66, "width": 64}}, "(=66 x 64 pixels) must be multiples of 4"),
        (TRANSLATES | {"method": {"name": "cyclegan", "penalty": "r1"}}, "config.method.penalty (='r1') has no effect"),
        (TRANSLATES | {"model": {"name": "cyclegan", "latent_dim": 7}}, "config.model.latent_dim (=7) has no effect"),
        (
            TRANSLATES | {"method": {"name": "cyclegan", "paired_l1_weight": 1.0}},
            "must be True for method.paired_l1_weight",
        ),
        (PAIRS | {"data": {"paired": False}}, "config.data.paired (=False) must be True for method.name='pix2pix'"),
    ],
)
def test_wrong_values_of_methods_that_translate(groups, text):
    assert text in problems(**groups)


def test_every_problem_is_listed():
    text = problems(batch_size=-1, seed=-1, dtype="int8")
    assert all(name in text for name in ("config.batch_size", "config.seed", "config.dtype"))


@pytest.mark.parametrize(
    ("devices", "processes", "text"),
    [(8, 1, "number of devices (=8); try 56 or 64"), (3, 1, "60 or 63"), (1, 7, "processes (=7)")],
)
def test_the_batch_must_be_divisible(devices, processes, text):
    with pytest.raises(ConfigError) as error:
        config_rules.validate(change(batch_size=61), num_devices=devices, num_processes=processes)
    assert text in str(error.value)


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"num_microbatches": 3}, "num_microbatches (=3) x devices (=2); try 66"),
        ({"num_microbatches": 32}, ""),
        ({"model": {"bn_groups": 7}}, "config.model.bn_groups (=7); try 70"),
        ({"model": {"bn_groups": 32}}, ""),
        ({"num_microbatches": 2, "model": {"name": "dcgan", "conditional": False}}, "must be 1 where D has batch norm"),
        ({"num_microbatches": 2} | TRANSLATES, "must be 1 for method.name='cyclegan'"),
        ({"model": {"name": "dcgan", "conditional": False, "remat": True}}, "model.remat (=True) has no effect"),
    ],
)
def test_parts_of_a_batch(values, text):
    config = change(**({"batch_size": 64} | values))
    if not text:
        config_rules.validate(config, num_devices=2)
        return
    with pytest.raises(ConfigError) as error:
        config_rules.validate(config, num_devices=2)
    assert text in str(error.value)


@pytest.mark.parametrize(
    ("values", "text"), [({"batch_size": 10**15}, "1,048,576"), ({"total_steps": 2**31}, "2,147,483,647")]
)
def test_absurd_sizes(values, text):
    assert f"must not exceed {text}." in problems(**values)


def test_more_devices_than_there_are():
    with pytest.raises(ConfigError, match=r"mesh.data \(=4\) .* number of devices \(=2\)"):
        config_rules.validate(change(mesh={"data": 4}), num_devices=2)


@pytest.mark.parametrize(
    ("resolution", "width", "base"), [(32, 0, 4), (96, 0, 6), (96, 0, 3), (64, 128, 4), (48, 32, 4), (128, 0, 4)]
)
def test_resolutions_that_the_networks_can_make(resolution, width, base):
    config_rules.validate(change(data={"resolution": resolution, "width": width}, model={"base_size": base}))


def test_every_choice_and_range_names_a_field():
    flat = config_tree.flatten(Config())
    for table in (config_rules._CHOICES, config_rules._POSITIVE, config_rules._NOT_NEGATIVE, config_rules._FRACTIONS):
        assert set(table) <= set(flat)
    model = {field.name for field in dataclasses.fields(ModelConfig)}
    for unused in config_rules._UNUSED.values():
        assert set(unused) <= model
    for free in config_tree.FREE_ON_RESUME:
        assert any(name == free or name.startswith(free) for name in flat)


def test_differences_leave_out_what_changes_no_result():
    new = change(
        total_steps=5,
        data={"num_threads": 9},
        mesh={"data": 1},
        checkpoint={"keep": 9},
        log={"every_steps": 3},
        eval={"every_steps": 9, "resizer": "clean"},
    )
    assert config_tree.differences(Config(), new) == {}
    changed = change(batch_size=32, g_optim=OptimConfig(lr=3e-4), data=DataConfig(flip=True))
    assert config_tree.differences(Config(), changed) == {
        "batch_size": (64, 32),
        "g_optim.lr": (1e-4, 3e-4),
        "data.flip": (False, True),
    }


def test_total_steps_does_not_hide_its_neighbours():
    assert config_tree.differences(Config(), change(method=MethodConfig(loss="wasserstein"))) == {
        "method.loss": ("hinge", "wasserstein")
    }
