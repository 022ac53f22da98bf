"""Networks that do not fit are named before training, with the shapes that clash."""

import functools

import jax
import jax.numpy as jnp
import optax
import pytest
from flax import nnx

from jaxgan.config import MeshConfig
from jaxgan.core import network as network_lib
from jaxgan.core import sharding
from jaxgan.core.state import Average
from jaxgan.data.spec import DataSpec
from jaxgan.layers.norm import BatchNorm
from jaxgan.methods.adversarial import Adversarial
from jaxgan.methods.base import NetworkSpec, initial_state
from jaxgan.methods.checks import Call, Calling, check_builder, check_networks
from jaxgan.methods.errors import MethodError

DATA = DataSpec(4, 6, 1, 3, ("a", "b", "c"), 100, "0")


class G(nnx.Module):
    def __init__(self, rngs):
        self.linear = nnx.Linear(5, 24, rngs=rngs)

    def __call__(self, z):
        return jnp.tanh(self.linear(z)).reshape(-1, 4, 6, 1)


class D(nnx.Module):
    def __init__(self, rngs):
        self.norm = BatchNorm(1, rngs=rngs)
        self.linear = nnx.Linear(24, 1, rngs=rngs)

    def __call__(self, images, labels, *, train):
        x = self.norm(images, train=train)
        return self.linear(x.reshape(-1, 24))[:, 0]


def generator(call):
    return type("OwnG", (G,), {"__call__": call})


def discriminator(call):
    return type("OwnD", (D,), {"__call__": call})


def check(g=G, d=D, devices=1, batch_size=8):
    method = Adversarial(generator=g, discriminator=d, latent_dim=5)
    place = sharding.replicated(sharding.make_mesh(MeshConfig(data=devices)))
    state, networks = initial_state(method, seed=0, sharding=place)
    before = jax.tree.map(jnp.copy, state.nets)
    check_networks(method, networks, state.nets, DATA, batch_size)
    assert jax.tree.all(jax.tree.map(lambda a, b: bool(jnp.array_equal(a, b)), before, state.nets))


@pytest.mark.parametrize("devices", [1, 8])
def test_sound_networks_pass_and_keep_their_variables(devices):
    check(devices=devices)


def test_modules_that_look_at_their_weights_when_built_pass():
    class Curious(G):
        def __init__(self, rngs):
            super().__init__(rngs)
            self.norm = float(jnp.sum(self.linear.kernel[...]))

    check(g=Curious)


def test_a_dictionary_of_outputs_passes():
    check(d=discriminator(lambda self, x: {"logits": x.mean((1, 2, 3)), "features": x}))


def test_logits_of_patches_pass():
    check(d=discriminator(lambda self, images: images[..., 0]))


@pytest.mark.parametrize(
    ("call", "takes"),
    [
        (lambda self, z, labels, mask: z, r"\(z, labels, mask\)"),
        (lambda self: jnp.zeros(()), r"\(\)"),
        (lambda self, z, *, labels: z, r"\(z, labels\)"),
        (lambda self, *, train: train, r"\(train\)"),
    ],
)
def test_signatures_that_do_not_take_the_inputs(call, takes):
    with pytest.raises(MethodError, match=rf"g takes {takes}, but is called with \(z, labels\) or \(z\)"):
        check(g=generator(call))


@pytest.mark.parametrize(
    "call",
    [
        lambda self, *inputs: jnp.zeros((len(inputs[0]), 4, 6, 1)),
        lambda self, z, labels=None, scale=1.0: jnp.zeros((len(z), 4, 6, 1)),
        lambda self, z, *, train, noise=0.0: jnp.zeros((len(z), 4, 6, 1)),
    ],
)
def test_signatures_with_room_pass(call):
    check(g=generator(call))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda self, z: jnp.zeros((len(z), 2, 6, 1)),
            r"g returned \(8, 2, 6, 1\) for z \(8, 5\); the data's images are \(8, 4, 6, 1\)\.",
        ),
        (lambda self, z: jnp.zeros((4, 6, 1)), r"g returned \(4, 6, 1\) for z \(8, 5\)"),
        (
            lambda self, z: jnp.zeros((len(z), 4, 6, 1), jnp.uint8),
            r"g returned uint8 of shape \(8, 4, 6, 1\) .* floating",
        ),
        (lambda self, z: {"images": z}, r"g returned a dict for z \(8, 5\)"),
        (lambda self, z: None, r"g returned a NoneType"),
        (
            lambda self, z: jnp.reshape(z, (-1, 7)),
            r"g failed on z \(8, 5\): TypeError: cannot reshape array of shape \(8, 5\)",
        ),
        (lambda self, z, labels: z[:, 0] / labels["x"], r"g failed on z \(8, 5\) and labels \(8,\): \w+Error: "),
    ],
)
def test_what_g_must_return(call, message):
    with pytest.raises(MethodError, match=message) as caught:
        check(g=generator(call))
    assert "\n" not in str(caught.value)


def test_the_modules_own_exception_is_the_cause():
    def call(self, z):
        raise RuntimeError("first line\nsecond line")

    with pytest.raises(MethodError, match=r"RuntimeError: first line$") as caught:
        check(g=generator(call))
    assert isinstance(caught.value.__cause__, RuntimeError)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda self, x: {"features": x}, "a dictionary with 'features', without \"logits\""),
        (lambda self, x: (x, x), "d returned a tuple"),
        (lambda self, x: jnp.mean(x), r"d returned 'logits' of shape \(\) for images \(8, 4, 6, 1\); its first axis"),
        (
            lambda self, x: {"logits": x[:, 0, 0, 0], "features": x.mean(0)},
            r"d returned 'features' of shape \(4, 6, 1\)",
        ),
        (lambda self, x: {"logits": x[:, 0, 0, 0], "name": "d"}, r"d returned 'name' as a str"),
        (lambda self, x: x[:, 0, 0, 0] > 0, r"d returned 'logits' as bool of shape \(8,\)"),
    ],
)
def test_what_d_must_return(call, message):
    with pytest.raises(MethodError, match=message):
        check(d=discriminator(call))


@pytest.mark.parametrize("bad", [jnp.nan, jnp.inf, -jnp.inf])
def test_fresh_networks_must_be_finite(bad):
    def image(self, z):
        return jnp.zeros((len(z), 4, 6, 1)).at[0, 1:3].set(bad)

    with pytest.raises(MethodError, match=r"g returns 12 values that are NaN or infinite in its images .* z \(4, 5\)"):
        check(g=generator(image))
    logits = discriminator(lambda self, x: {"logits": x[:, 0, 0, 0], "features": x * bad})
    with pytest.raises(MethodError, match=r"d returns 96 values .* in 'features' .* images \(4, 4, 6, 1\)"):
        check(d=logits)


class Keyword(nnx.Module):
    def __init__(self, *, rngs):
        self.rngs = rngs


class Wide(nnx.Module):
    def __init__(self, width, rngs):
        self.width = width


@pytest.mark.parametrize("build", [Wide, lambda: Keyword(rngs=nnx.Rngs(0))])
def test_builders_are_called_with_rngs_alone(build):
    with pytest.raises(MethodError, match=r"generator \(=.*\) cannot be called with nnx.Rngs alone .*`lambda rngs: "):
        check_builder("generator", build)


@pytest.mark.parametrize(
    "build", [G, Keyword, lambda rngs: Keyword(rngs=rngs), functools.partial(Wide, 3), lambda *a: None]
)
def test_builders_that_take_rngs_pass(build):
    check_builder("generator", build)


def test_a_network_may_take_a_random_key():
    class Noisy(nnx.Module):
        def __init__(self, rngs):
            self.scale = nnx.Param(jnp.ones(()))

        def __call__(self, images, key):
            return images + self.scale[...] * jax.random.normal(key, images.shape)

    class Translation:
        networks = {"g": NetworkSpec(Noisy, optax.sgd(0.1))}

        def calls(self, data, batch_size):
            images = jax.ShapeDtypeStruct((batch_size, data.height, data.width, data.channels), jnp.float32)
            return {"g": Call({"images": images, "key": jax.eval_shape(lambda: jax.random.key(0))}, images=images)}

    method = Translation()
    network, params, stats = network_lib.create(Noisy, jax.random.key(0))
    check_networks(method, {"g": network}, {"g": Average(params=params, stats=stats)}, DATA, 2)
    assert isinstance(method, Calling) and not isinstance(object(), Calling)


def test_a_batch_of_one_is_enough():
    check(batch_size=1)
