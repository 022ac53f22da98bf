"""What a term sees, how terms are named, weighed, logged and kept, and what is said of wrong ones."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxgan.core import network as network_lib
from jaxgan.core.network import BoundNetwork
from jaxgan.core.state import Average
from jaxgan.methods.adversarial import Adversarial
from jaxgan.methods.errors import MethodError
from jaxgan.methods.game import check_scalar, outputs
from jaxgan.methods.terms import weighted


class G(nnx.Module):
    """Images (B, 2, 2, 1) whose pixels are w * (sum of z)."""

    def __init__(self, rngs):
        self.w = nnx.Param(jnp.asarray(0.5))

    def __call__(self, z):
        return jnp.broadcast_to((self.w[...] * jnp.sum(z, axis=1))[:, None, None, None], (len(z), 2, 2, 1))


class D(nnx.Module):
    """Logits w * mean, and the means as features; counts its training calls."""

    def __init__(self, rngs):
        self.w = nnx.Param(jnp.asarray(2.0))
        self.calls = nnx.BatchStat(jnp.zeros(()))

    def __call__(self, images, labels, *, train):
        self.calls[...] = self.calls[...] + train
        means = jnp.mean(images, axis=(1, 2, 3))
        return {"logits": self.w[...] * means, "features": jnp.stack([means, labels * 1.0], axis=1)}


class PlainD(D):
    def __call__(self, images, labels, *, train):
        return super().__call__(images, labels, train=train)["logits"]


BATCH = {"images": jnp.linspace(-1, 1, 6 * 4).reshape(6, 2, 2, 1), "labels": jnp.arange(6) % 3}
KEY = jax.random.key(1)


def method(**kwargs) -> Adversarial:
    return Adversarial(**({"generator": G, "discriminator": D, "latent_dim": 3} | kwargs))


def start(m):
    nets, variables = {}, {}
    for name, spec in m.networks.items():
        network, params, stats = network_lib.create(spec.build, jax.random.key(0))
        nets[name], variables[name] = BoundNetwork(network, params, stats), Average(params=params, stats=stats)
    return nets, m.init_aux(variables)


def play(m, phase, aux=None):
    nets, first = start(m)
    loss, out = m.loss(phase, nets, BATCH, KEY, None, first if aux is None else aux)
    return loss, out, nets


def constant(value):
    return lambda game: jnp.asarray(value)


def seen(phase, **kwargs):
    """Returns the game that a term is given."""
    games = []

    def look(game):
        games.append(game)
        return jnp.zeros(())

    play(method(**{f"{phase}_terms": {"look": look}} | kwargs), phase)
    return games[0]


def test_weights_scale_the_sum_and_not_the_log():
    plain, _, _ = play(method(), "g")
    m = method(g_terms={"a": weighted(0.25, constant(8.0)), "b": weighted(2.0, weighted(3.0, constant(-1.0)))})
    loss, out, _ = play(m, "g")
    np.testing.assert_allclose(loss - plain, 0.25 * 8 - 6, rtol=1e-6)
    assert out.metrics["g_a"] == 8.0 and out.metrics["g_b"] == -1.0
    np.testing.assert_allclose(out.metrics["g_loss"], plain, rtol=1e-6)


@pytest.mark.parametrize("phase", ["d", "g"])
def test_terms_belong_to_their_network(phase):
    m = method(d_terms={"x": constant(1.0)})
    loss, out, _ = play(m, phase)
    plain, plain_out, _ = play(method(), phase)
    np.testing.assert_allclose(loss - plain, float(phase == "d"), atol=1e-6)
    assert set(out.metrics) - set(plain_out.metrics) == ({"d_x"} if phase == "d" else set())


@pytest.mark.parametrize("phase", ["d", "g"])
def test_without_a_loss_the_terms_are_all(phase):
    m = method(loss_fns=None, d_terms={"x": weighted(2.0, constant(3.0))}, g_terms={"x": weighted(5.0, constant(3.0))})
    loss, out, _ = play(m, phase)
    expected = {"d": 6.0, "g": 15.0}[phase]
    assert loss == expected and out.metrics[f"{phase}_loss"] == expected and "d_accuracy" not in out.metrics


@pytest.mark.parametrize("joint", [True, False])
def test_in_the_d_phase_a_term_sees_real_and_fake(joint):
    game = seen("d", joint_forward=joint)
    means = np.mean(BATCH["images"], axis=(1, 2, 3))
    np.testing.assert_allclose(game.real_out["features"], np.stack([means, BATCH["labels"]], axis=1), rtol=1e-6)
    fake = 0.5 * np.sum(game.z, axis=1)
    np.testing.assert_allclose(game.fake[:, 0, 0, 0], fake, rtol=1e-5)
    np.testing.assert_allclose(game.fake_out["logits"], 2 * fake, rtol=1e-5)
    np.testing.assert_array_equal(game.real, BATCH["images"])
    np.testing.assert_array_equal(game.real_labels, BATCH["labels"])
    assert game.phase == "d" and not np.any(game.labels) and set(game.params("d")) == {"w"}


def test_plain_logits_look_like_a_dictionary():
    game = seen("d", discriminator=PlainD)
    assert set(game.real_out) == set(game.fake_out) == {"logits"}


def test_an_output_that_d_lacks_is_named():
    def needs(game):
        return jnp.mean(game.fake_out["embedding"])

    with pytest.raises(MethodError, match="reads 'embedding' .* is 'logits', 'features'; let d return"):
        play(method(g_terms=[needs]), "g")


@pytest.mark.parametrize(("reads", "calls"), [(False, 1), (True, 1)])
def test_the_real_images_cost_g_a_forward_only_if_a_term_asks_and_leave_no_trace(reads, calls, monkeypatch):
    forwards = []
    original = BoundNetwork.__call__

    def counting(self, *args, **kwargs):
        forwards.append(args[0].shape)
        return original(self, *args, **kwargs)

    monkeypatch.setattr(BoundNetwork, "__call__", counting)
    terms = {"x": lambda game: jnp.mean(game.real_out["logits"] - game.real_out["logits"]) if reads else jnp.zeros(())}
    _, _, nets = play(method(g_terms=terms), "g")
    assert len(forwards) == 2 + reads and nets["d"].stats["calls"] == calls


def test_a_term_trains_the_network_of_its_phase():
    def gradient(phase, trained, **kwargs):
        m = method(loss_fns=None, **kwargs)
        nets, aux = start(m)

        def loss(params):
            bound = dict(nets) | {trained: BoundNetwork(nets[trained].network, params, nets[trained].stats)}
            return m.loss(phase, bound, BATCH, KEY, None, aux)[0]

        return jax.grad(loss)(nets[trained].params)["w"]

    terms = {"x": lambda game: jnp.mean(game.fake_out["logits"])}
    both = {"d_terms": terms, "g_terms": terms}
    assert gradient("d", "d", **both) != 0 and gradient("g", "g", **both) != 0
    assert gradient("d", "g", **both) == 0, "in the D phase fakes are constants"
    decay = {"x": lambda game: game.params(game.phase)["w"] ** 2}
    np.testing.assert_allclose(gradient("d", "d", d_terms=decay, g_terms=decay), 4.0)
    np.testing.assert_allclose(gradient("g", "g", d_terms=decay, g_terms=decay), 1.0)


def test_keys_differ_by_name_and_by_update():
    game = seen("g")
    a, b = jax.random.key_data(game.key("a")), jax.random.key_data(game.key("b"))
    assert not np.array_equal(a, b)
    np.testing.assert_array_equal(a, jax.random.key_data(seen("g").key("a")))


def test_without_terms_nothing_is_kept_or_logged():
    m = method()
    _, aux = start(m)
    _, out, _ = play(m, "d")
    assert aux == {} and out.aux is None
    assert list(out.metrics) == ["d_loss", "real_logits", "fake_logits", "d_accuracy"]


class Counter:
    """Returns how often it was called before, in halves."""

    def init(self, nets, network):
        return {"count": jnp.zeros((), jnp.int32), "of": nets[network].params["w"]}

    def __call__(self, game, state):
        game.log("of", state["of"])
        return state["count"] / 2, {"count": state["count"] + 1, "of": state["of"]}


def test_states_are_kept_apart_by_network_and_name_and_renewed_by_their_phase():
    m = method(d_terms={"n": Counter()}, g_terms={"n": weighted(10.0, Counter())})
    _, aux = start(m)
    assert set(aux) == {"d_n", "g_n"} and aux["d_n"]["of"] == 2.0 and aux["g_n"]["of"] == 0.5
    for count in range(3):
        loss, out, _ = play(m, "g", aux)
        plain, _, _ = play(method(), "g")
        np.testing.assert_allclose(loss - plain, 10 * count / 2, atol=1e-6)
        assert out.metrics["g_n"] == count / 2 and out.metrics["g_of"] == 0.5
        aux = out.aux
    assert aux["g_n"]["count"] == 3 and aux["d_n"]["count"] == 0


def test_a_weakly_typed_state_becomes_strong():
    class Weak(Counter):
        def __call__(self, game, state):
            return jnp.zeros(()), state | {"of": jnp.asarray(1.0)}  # weak: the compiled step would not take it again

    _, out, _ = play(method(d_terms=[Weak()]), "d")
    assert jnp.asarray(1.0).weak_type and not out.aux["d_Weak"]["of"].weak_type


def test_a_state_may_not_change_its_shape():
    class Growing(Counter):
        def __call__(self, game, state):
            return jnp.zeros(()), state | {"count": jnp.zeros((2,), jnp.int32)}

    with pytest.raises(MethodError, match=r"term 'd_Growing' returned a state unlike the one it was given"):
        play(method(d_terms=[Growing()]), "d")


def mean_logit(game):
    return jnp.mean(game.fake_out["logits"])


def test_a_sequence_takes_the_names_of_its_functions():
    _, out, _ = play(method(g_terms=[mean_logit, weighted(2.0, Counter())]), "g")
    assert {"g_mean_logit", "g_Counter"} <= set(out.metrics)


@pytest.mark.parametrize("one", [mean_logit, weighted(2.0, mean_logit)])
def test_a_single_term_needs_no_sequence(one):
    alone, several = play(method(g_terms=one), "g"), play(method(g_terms=[one]), "g")
    assert alone[0] == several[0] and list(alone[1].metrics) == list(several[1].metrics) == ["g_loss", "g_mean_logit"]


@pytest.mark.parametrize(
    ("terms", "message"),
    [
        ([lambda game: 0.0], "no usable name"),
        ({"two words": mean_logit}, "no usable name"),
        ([mean_logit, mean_logit], "'mean_logit' of a term is taken twice"),
        ({"loss": mean_logit}, "'loss' of a term is the method's own"),
        ({"grad_norm": mean_logit}, "'grad_norm' of a term is the method's own"),
        ({"x": 0.1}, r"term 'x' of g_terms \(=0.1\) must be a function of the game"),
    ],
)
def test_badly_named_terms_are_refused_when_the_method_is_made(terms, message):
    with pytest.raises(MethodError, match=message):
        method(g_terms=terms)


def test_weights_come_first():
    with pytest.raises(MethodError, match="weight first"):
        weighted(mean_logit, 0.1)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (jnp.zeros((6,)), r"term 'x' of phase 'g' returned shape \(6,\); return a scalar, e.g. jnp.mean"),
        (None, "term 'x' of phase 'g' returned a NoneType"),
        ((jnp.zeros(()), 1), "returned a tuple"),
        (jnp.zeros((), jnp.complex64), "complex"),
    ],
)
def test_a_term_returns_a_scalar(value, message):
    with pytest.raises(MethodError, match=message):
        play(method(g_terms={"x": lambda game: value}), "g")


def test_scalars_of_any_kind_become_float32():
    for value in (3, 3.0, jnp.asarray(3, jnp.bfloat16), np.float64(3), jnp.asarray(3)):
        scalar = check_scalar(value, "d", "x")
        assert scalar.dtype == jnp.float32 and scalar.shape == () and scalar == 3.0
    with pytest.raises(MethodError, match=r"the loss of phase 'd' returned shape \(2,\)"):
        check_scalar(jnp.zeros((2,)), "d", "loss")


def test_logged_names_may_not_hide_each_other():
    def logs(name):
        def term(game):
            game.log(name, 1.0)
            return jnp.zeros(())

        return term

    for terms in ({"a": logs("a")}, {"a": logs("x"), "b": logs("x")}, {"a": logs("loss")}):
        with pytest.raises(MethodError, match="name"):
            play(method(g_terms=terms), "g")


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        ({"features": jnp.zeros(3)}, "a dictionary with 'features', without \"logits\""),
        ({}, "a dictionary with nothing"),
        ((jnp.zeros(3), jnp.zeros(3)), "d returned a tuple"),
        (None, "d returned a NoneType"),
    ],
)
def test_what_d_must_return(returned, message):
    with pytest.raises(MethodError, match=message):
        outputs(returned)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"loss_fns": "hinges"}, r"loss_fns \(='hinges'\) .*did you mean 'hinge'\?"),
        ({"loss_fns": "qqqq"}, r"loss_fns \(='qqqq'\) must be one of 'hinge', .*'wasserstein'\.$"),
        ({"loss_fns": 3}, r"loss_fns \(=3\) must be a name, None, or Loss\(d, g\)"),
        ({"loss_fns": None, "d_terms": [mean_logit]}, "g has nothing to minimise; give it g_terms"),
        ({"penalty": "wgangp"}, "did you mean 'wgan_gp'"),
        ({"fake_labels": "unifrom"}, "did you mean 'uniform'"),
        ({"generator": G(nnx.Rngs(0))}, r"generator \(a G\) must build the network .* `lambda rngs: G\("),
        ({"discriminator": 3}, r"discriminator \(a int\) must build the network"),
    ],
)
def test_methods_that_cannot_be(fields, message):
    with pytest.raises(MethodError, match=message):
        method(**fields)


def test_builders_with_arguments_are_welcome():
    method(generator=functools.partial(G), discriminator=lambda rngs: D(rngs))


@pytest.mark.parametrize("phase", ["d", "g"])
def test_labels_of_the_fakes_may_be_those_of_the_data(phase):
    of_data = seen(phase, num_classes=3, fake_labels="data")
    drawn = seen(phase, num_classes=3)
    np.testing.assert_array_equal(of_data.labels, BATCH["labels"])
    assert np.any(np.asarray(drawn.labels) != BATCH["labels"])
    np.testing.assert_array_equal(of_data.z, drawn.z)
    # D is given them for the fakes as well.
    np.testing.assert_array_equal(of_data.fake_out["features"][:, 1], BATCH["labels"])
    assert not np.any(seen(phase, fake_labels="data").labels), "without classes there is nothing to ask for"


@pytest.mark.parametrize("penalty", ["wgan_gp", "r1_r2"])
def test_penalties_differentiate_the_logits_of_a_dictionary(penalty):
    values = [play(method(discriminator=d, penalty=penalty), "d")[1].metrics["penalty"] for d in (D, PlainD)]
    np.testing.assert_array_equal(*values)
    assert penalty != "r1_r2" or values[0] > 0
