"""The ready-made terms on the trainer's own step: ACGAN, InfoGAN, EBGAN, BEGAN and their kin on 8 x 8 pixels."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from jaxgan.config import CheckpointConfig, MeshConfig
from jaxgan.core import sharding
from jaxgan.core.checkpoint import Checkpointer
from jaxgan.methods import terms
from jaxgan.methods.adversarial import Adversarial
from jaxgan.methods.base import initial_state
from jaxgan.methods.errors import MethodError
from jaxgan.training.step import make_step

LATENTS = dict(categorical=3, continuous=2)


class G(nnx.Module):
    """One linear layer on z, on its codes, or on z and the class."""

    def __init__(self, rngs, *, kind="z"):
        self.kind = kind
        self.linear = nnx.Linear({"z": 8, "codes": 8, "labels": 8 + 3}[kind], 64, rngs=rngs)

    def __call__(self, z, labels):
        if self.kind == "codes":
            z = jnp.concatenate([*terms.codes(z, **LATENTS), terms.noise(z, **LATENTS)], axis=1)
        if self.kind == "labels":
            z = jnp.concatenate([z, jax.nn.one_hot(labels, 3)], axis=1)
        return jnp.tanh(self.linear(z)).reshape(-1, 8, 8, 1)


class D(nnx.Module):
    """A linear layer of features, and heads for everything that a term reads."""

    def __init__(self, rngs):
        self.features = nnx.Linear(64, 6, rngs=rngs)
        self.logits = nnx.Linear(6, 1, rngs=rngs)
        self.classes = nnx.Linear(6, 3, rngs=rngs)
        self.mean = nnx.Linear(6, 2, rngs=rngs)
        self.log_var = nnx.Linear(6, 2, rngs=rngs)

    def __call__(self, images):
        h = jnp.tanh(self.features(images.reshape(-1, 64)))
        return {
            "logits": self.logits(h)[:, 0],
            "features": h,
            "class_logits": self.classes(h),
            "code_logits": self.classes(h),
            "code_mean": self.mean(h),
            "code_log_var": self.log_var(h),
        }


class Autoencoder(nnx.Module):
    """An energy: the error of a linear autoencoder."""

    def __init__(self, rngs):
        self.encode = nnx.Linear(64, 4, rngs=rngs)
        self.decode = nnx.Linear(4, 64, rngs=rngs)

    def __call__(self, images):
        x = images.reshape(-1, 64)
        code = self.encode(x)
        return {"logits": jnp.mean(jnp.square(self.decode(code) - x), axis=1), "embedding": code}


def mean_logit(game):
    return jnp.mean(game.fake_out["logits"])


def method(kind="z", discriminator=D, **kwargs):
    fields = dict(
        generator=lambda rngs: G(rngs, kind=kind),
        discriminator=discriminator,
        latent_dim=8,
        g_tx=optax.sgd(0.1),
        d_tx=optax.sgd(0.1),
    )
    return Adversarial(**(fields | kwargs))


def batches(num_d_steps, count):
    rng = np.random.default_rng(0)
    for _ in range(count):
        images = rng.integers(0, 256, (num_d_steps, 16, 8, 8, 1), np.uint8)
        yield {"images": images, "labels": rng.integers(0, 3, (num_d_steps, 16), np.int32)}


def train(m, steps=2, unroll=True, devices=1):
    mesh = sharding.make_mesh(MeshConfig(data=devices))
    state, networks = initial_state(m, seed=0, sharding=sharding.replicated(mesh))
    states, metrics = [state], []
    step = jax.jit(make_step(m, networks, scaling="symmetric", unroll=unroll), out_shardings=sharding.replicated(mesh))
    key = jax.device_put(jax.random.key(7), sharding.replicated(mesh))
    for batch in batches(m.num_d_steps, steps):
        state, one = step(state, sharding.put_batch(batch, mesh), key)
        states.append(state)
        metrics.append({name: float(value) for name, value in one.items()})
    assert all(np.isfinite(list(one.values())).all() for one in metrics)
    return states, metrics


def moved(states, network, *path):
    """Whether the parameters below `path` changed in the last step."""
    before, after = states[-2].nets[network].params, states[-1].nets[network].params
    for name in path:
        before, after = before[name], after[name]
    return all(not np.array_equal(a, b) for a, b in zip(jax.tree.leaves(before), jax.tree.leaves(after), strict=True))


def test_acgan_trains_both_networks_by_the_class():
    classify = {"classes": terms.auxiliary_classifier()}
    states, metrics = train(method("labels", num_classes=3, loss_fns=None, d_terms=classify, g_terms=classify))
    assert moved(states, "g", "linear") and moved(states, "d", "classes")
    assert not moved(states, "d", "logits"), "without an adversarial loss nothing reaches the logits"
    # Fresh logits are near even: log 3 for the real and for the fake images, and for the fakes alone in G.
    assert abs(metrics[0]["d_classes"] - 2 * np.log(3)) < 0.6 and abs(metrics[0]["g_classes"] - np.log(3)) < 0.3


def test_infogan_reaches_the_generator_and_the_heads():
    info = {"information": terms.weighted(0.5, terms.mutual_information(**LATENTS))}
    states, metrics = train(method("codes", loss_fns=None, d_terms=info, g_terms=info))
    assert moved(states, "g", "linear")
    assert all(moved(states, "d", head) for head in ("classes", "mean", "log_var", "features"))
    np.testing.assert_allclose(metrics[0]["g_loss"], 0.5 * metrics[0]["g_information"], rtol=1e-6)


@pytest.mark.slow
def test_infogan_learns_to_write_and_read_its_codes():
    info = {"information": terms.mutual_information(**LATENTS)}
    adam = dict(g_tx=optax.adam(3e-3), d_tx=optax.adam(3e-3))
    _, metrics = train(method("codes", loss_fns=None, d_terms=info, g_terms=info, **adam), steps=600)
    # The codes' entropies: nothing known of them costs log 3 + 2 (1 + log 2 pi) / 2 = 3.94.
    assert metrics[0]["g_information"] > 3.5 and np.mean([m["g_information"] for m in metrics[-20:]]) < 0.0


def test_ebgan_lowers_real_energies_and_spreads_the_embeddings():
    from jaxgan.objectives.energy import energy_based

    repel = {"repel": terms.weighted(0.1, terms.pulling_away())}
    states, metrics = train(method(discriminator=Autoencoder, loss_fns=energy_based(1.0), g_terms=repel))
    assert moved(states, "g", "linear") and moved(states, "d")
    assert 0 < metrics[0]["g_repel"] <= 1 and metrics[1]["real_logits"] < metrics[0]["real_logits"]


@pytest.mark.parametrize("unroll", [True, False])
def test_began_moves_k_at_each_update_of_d(unroll):
    began = terms.boundary_equilibrium(gamma=2.0, lambda_k=0.5)
    m = method(discriminator=Autoencoder, num_d_steps=2, loss_fns=None, d_terms=[began.d], g_terms=[began.g])
    states, metrics = train(m, unroll=unroll)
    k = [float(state.aux["d_boundary_equilibrium"]) for state in states]
    assert k[0] == 0.0 and k[1] > 0.0 and k[2] != k[1]
    # Metrics are means over both updates of D: the first of them saw k as it was before the step.
    assert 0 < metrics[0]["d_k"] < k[1] and metrics[0]["g_loss"] == metrics[0]["g_boundary_equilibrium"] > 0
    assert metrics[0]["d_convergence"] > metrics[0]["real_logits"]


def test_k_follows_the_energies_by_hand():
    began = terms.boundary_equilibrium(gamma=2.0, lambda_k=0.1)
    m = method(discriminator=Autoencoder, loss_fns=None, d_terms={"began": began.d}, g_terms={"began": began.g})
    states, metrics = train(m, steps=3)
    k = 0.0
    for state, one in zip(states[1:], metrics, strict=True):
        np.testing.assert_allclose(one["d_loss"], one["real_logits"] - k * one["fake_logits"], rtol=1e-5)
        k = float(np.clip(k + 0.1 * (2.0 * one["real_logits"] - one["fake_logits"]), 0, 1))
        np.testing.assert_allclose(state.aux["d_began"], k, rtol=1e-4)
        assert 0 < k < 1


def test_feature_matching_pulls_g_to_the_mean_features():
    # D stays as it is, so that its features are the same in both steps.
    m = method(loss_fns=None, d_tx=optax.sgd(0.0), d_terms=[mean_logit], g_terms=[terms.feature_matching()])
    states, metrics = train(m)
    assert moved(states, "g", "linear") and metrics[1]["g_feature_matching"] < metrics[0]["g_feature_matching"]


def test_the_historical_average_is_that_of_the_parameters_seen():
    history = terms.historical_average()
    m = method(d_terms=[terms.weighted(0.1, history)], g_terms=[terms.weighted(0.1, history)])
    states, metrics = train(m, steps=4)
    for network in ("d", "g"):
        seen = [jax.tree.leaves(state.nets[network].params) for state in states]
        for t in range(4):
            past = [np.mean([seen[i][leaf] for i in range(max(t, 1))], axis=0) for leaf in range(len(seen[0]))]
            expected = sum(np.sum(np.square(now - mean)) for now, mean in zip(seen[t], past, strict=True))
            np.testing.assert_allclose(metrics[t][f"{network}_historical_average"], expected, rtol=1e-3, atol=1e-9)
        assert int(states[-1].aux[f"{network}_historical_average"]["count"]) == 4


def test_states_survive_a_checkpoint(tmp_path):
    began = terms.boundary_equilibrium(gamma=2.0, lambda_k=0.5)
    m = method(
        discriminator=Autoencoder, loss_fns=None, d_terms=[began.d], g_terms=[began.g, terms.historical_average()]
    )
    states, _ = train(m)
    checkpointer = Checkpointer(tmp_path, CheckpointConfig())
    checkpointer.save(2, states[-1], {})
    checkpointer.wait()
    fresh, _ = initial_state(m, seed=1, sharding=sharding.replicated(sharding.make_mesh(MeshConfig(data=1))))
    restored = checkpointer.restore(2, fresh)
    checkpointer.close()
    jax.tree.map(np.testing.assert_array_equal, restored.aux, states[-1].aux)
    assert float(restored.aux["d_boundary_equilibrium"]) > 0


def test_terms_agree_on_one_and_eight_devices():
    m = method(
        "codes",
        g_terms=[terms.feature_matching(), terms.mutual_information(**LATENTS), terms.pulling_away("features")],
        d_terms=[terms.historical_average(), terms.mutual_information(**LATENTS)],
    )
    one, eight = train(m), train(m, devices=8)
    for a, b in zip(one[1], eight[1], strict=True):
        np.testing.assert_allclose(list(a.values()), list(b.values()), rtol=2e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"d_terms": [terms.feature_matching()]}, "feature_matching is a term of g; move it from d_terms to g_terms"),
        ({"d_terms": [terms.pulling_away("features")]}, "pulling_away is a term of g"),
        ({"g_terms": [terms.boundary_equilibrium().d]}, "is a term of d; move it from g_terms to d_terms"),
        ({"d_terms": {"k": terms.boundary_equilibrium().g}}, "is a term of g"),
    ],
)
def test_terms_of_the_other_network_are_refused(fields, message):
    with pytest.raises(MethodError, match=message):
        train(method(**fields))
