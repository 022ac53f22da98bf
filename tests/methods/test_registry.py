"""What saves memory, or stands in for more devices, reaches the networks and the method that the settings describe."""

import dataclasses

import jax
import pytest
from flax import nnx

from jaxgan.config import Config, DataConfig, MethodConfig, ModelConfig
from jaxgan.data.spec import DataSpec
from jaxgan.layers.norm import BatchNorm
from jaxgan.methods import registry

DATA = DataConfig(source="digits", resolution=8, channels=1)
RESNET = ModelConfig(g_widths=(4, 4), d_widths=(4, 4), attention_resolutions=())
DCGAN = ModelConfig(name="dcgan", conditional=False, g_channels=4, d_channels=4, attention_resolutions=())
CYCLEGAN = ModelConfig(name="cyclegan", conditional=False, g_channels=2, d_channels=2, num_res_blocks=1)


def abstract(build):
    """A network without its arrays."""
    return nnx.eval_shape(lambda: build(nnx.Rngs(jax.random.key(0))))


def networks(model):
    config = Config(data=DATA, model=model)
    if model.name == "cyclegan":
        return [abstract(build) for build in registry.build_translation_networks(config)]
    return [abstract(build) for build in registry.build_networks(config, 10 if model.conditional else 0)]


@pytest.mark.parametrize("remat", [False, True])
def test_remat_reaches_the_networks_that_know_it(remat):
    generator, discriminator = networks(dataclasses.replace(RESNET, remat=remat))
    assert (generator.remat, discriminator.remat) == (remat, remat)
    assert networks(dataclasses.replace(CYCLEGAN, remat=remat))[0].remat == remat


@pytest.mark.parametrize("model", [RESNET, dataclasses.replace(RESNET, conditional=False), DCGAN])
@pytest.mark.parametrize("groups", [1, 2])
def test_groups_reach_every_batch_norm_of_the_generator_and_none_of_the_discriminator(model, groups):
    found = [
        [module.groups for _, module in nnx.iter_modules(network) if isinstance(module, BatchNorm)]
        for network in networks(dataclasses.replace(model, bn_groups=groups))
    ]
    assert found[0] and set(found[0]) == {groups}
    assert set(found[1]) <= {1}


def test_microbatches_reach_the_method():
    spec = DataSpec(8, 8, 1, 10, tuple("0123456789"), 100, "")
    config = Config(data=DATA, model=RESNET, batch_size=8, num_microbatches=4, method=MethodConfig())
    method = registry.build_method(config, spec)
    assert isinstance(method, registry.Adversarial) and method.num_microbatches == 4
