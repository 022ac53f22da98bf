"""What would it bring? Ways to a faster step that are often proposed, each beside what the trainer does.

    python -m benchmarks.variants --preset=sagan32 --set batch_size=16 num_d_steps=1

One process, synthetic data on the device, the two sides of a pair in turns: `--rounds` times, the order reversed from
round to round. A ratio is the time as it is over the time of the variant in the same round; above 1 the variant is
faster. Variants:

- `g_at_once`: G's forward for several D steps in one call, batch norm keeping the steps apart, instead of a call each.
- `scan`: several steps in one program (`lax.scan`) instead of a call each.
- `no_spectral_norm`: the step without spectral norm: a bound for fusing its power iterations, which can bring no more.
- `fused_attention`: `jax.nn.dot_product_attention` instead of the layer's two products and softmax, with gradients.
- `remat`: blocks computed again in the backward pass, which saves memory and costs time.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from benchmarks.cases import PRESETS, Case, load_case, override
from benchmarks.sides import JaxganSide, describe_data, draw_batch
from jaxgan.config import ConfigError
from jaxgan.core import sharding as sharding_lib
from jaxgan.core.compilation import compiler_options
from jaxgan.core.network import create
from jaxgan.layers.attention import SelfAttention
from jaxgan.methods.registry import build_networks
from jaxgan.training import setup as setup_lib
from jaxgan.training.step import make_step

Pair = tuple[Callable[[], Any], Callable[[], Any]]  # as it is, the variant; each returns what to wait for
_CALLS = 4  # D steps, or steps, that a variant takes together


def g_at_once(case: Case) -> Pair:
    """Latents of several D steps through G: a call each, or all in one."""
    config = case.config
    z = jax.random.normal(jax.random.key(0), (_CALLS * config.batch_size, config.model.latent_dim))
    labels = jnp.arange(len(z)) % max(case.num_classes, 1)

    def build(groups: int) -> Callable[[], Any]:
        model = dataclasses.replace(config.model, bn_groups=groups)
        generator, _ = build_networks(dataclasses.replace(config, model=model), case.num_classes)
        network, params, stats = create(generator, jax.random.key(1))

        def run(params: Any, stats: Any, z: jax.Array, labels: jax.Array) -> jax.Array:
            if groups > 1:
                return network(params, stats, z, labels, train=True)[0]
            parts = [slice(i * config.batch_size, (i + 1) * config.batch_size) for i in range(_CALLS)]
            return jnp.concatenate([network(params, stats, z[part], labels[part], train=True)[0] for part in parts])

        compiled = _compile(run, params, stats, z, labels)
        return lambda: compiled(params, stats, z, labels)

    return build(1), build(_CALLS)


def scan(case: Case) -> Pair:
    """Several steps: a call each, or all in one program."""
    data = describe_data(case)
    setup = setup_lib.prepare(case.config, data)
    unroll = sharding_lib.unroll_d_steps(case.config.mesh.unroll_d_steps)
    step = make_step(setup.method, setup.networks, scaling=case.config.data.scaling, unroll=unroll)
    batch = sharding_lib.put_batch(draw_batch(case), setup.mesh)

    def one(state: Any, batch: Any, key: jax.Array) -> Any:
        return step(state, batch, key)[0]

    def many(state: Any, batch: Any, key: jax.Array) -> Any:
        return jax.lax.scan(lambda state, _: (one(state, batch, key), None), state, length=_CALLS)[0]

    one_compiled = _compile(one, setup.state, batch, setup.root_key)
    many_compiled = _compile(many, setup.state, batch, setup.root_key)

    def calls() -> Any:
        state = setup.state
        for _ in range(_CALLS):
            state = one_compiled(state, batch, setup.root_key)
        return state

    return calls, lambda: many_compiled(setup.state, batch, setup.root_key)


def no_spectral_norm(case: Case) -> Pair:
    """The step with and without spectral norm."""
    without = override(case.config, ["model.g_spectral_norm=none", "model.d_spectral_norm=none"])
    return _steps(case), _steps(dataclasses.replace(case, config=without))


def remat(case: Case) -> Pair:
    """The step with its activations kept, and computed again."""
    return _steps(case), _steps(dataclasses.replace(case, config=override(case.config, ["model.remat=true"])))


def fused_attention(case: Case) -> Pair:
    """Pooled attention at 32x32 with 256 channels, forward and gradients: the layer, and JAX's attention function."""
    layer = SelfAttention(256, dtype=jnp.dtype(case.config.dtype), rngs=nnx.Rngs(0))
    graphdef, state = nnx.split(layer)
    x = jax.random.normal(jax.random.key(0), (case.config.batch_size, 32, 32, 256), layer.dtype)

    def ours(state: Any, x: jax.Array) -> jax.Array:
        return nnx.merge(graphdef, state)(x, train=False)

    def theirs(state: Any, x: jax.Array) -> jax.Array:
        layer = nnx.merge(graphdef, state)
        flat = lambda maps: maps.reshape(len(maps), -1, maps.shape[-1])  # noqa: E731
        query, key = flat(layer.query(x, train=False)), flat(layer._pool(layer.key(x, train=False)))
        value = flat(layer._pool(layer.value(x, train=False)))
        # Queries and values of one size are what the function takes; zeros change neither scores nor the rest.
        wide = [jnp.pad(part, ((0, 0), (0, 0), (0, value.shape[-1] - part.shape[-1]))) for part in (query, key)]
        attended = jax.nn.dot_product_attention(*(part[:, :, None] for part in (*wide, value)), scale=1.0)
        assert layer.output is not None, "the pooled kind has it"
        attended = layer.output(attended.reshape(*x.shape[:3], -1), train=False)
        return x + layer.gate[...].astype(x.dtype) * attended

    def side(function: Callable[[Any, jax.Array], jax.Array]) -> Callable[[], Any]:
        loss = lambda state, x: jnp.sum(jnp.sin(function(state, x).astype(jnp.float32)))  # noqa: E731
        compiled = _compile(jax.grad(loss, argnums=(0, 1)), state, x)
        return lambda: compiled(state, x)

    return side(ours), side(theirs)


VARIANTS = {
    "g_at_once": g_at_once,
    "scan": scan,
    "no_spectral_norm": no_spectral_norm,
    "fused_attention": fused_attention,
    "remat": remat,
}


def measure(pair: Pair, rounds: int, clock: Callable[[], float] = time.perf_counter) -> dict[str, list[float]]:
    """Returns {"before": seconds of each round, "after": ...}; both sides ran once before."""
    sides = dict(zip(("before", "after"), pair, strict=True))
    for side in sides.values():
        jax.block_until_ready(side())
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(rounds):
        for name in sides if number % 2 == 0 else reversed(sides):
            start = clock()
            jax.block_until_ready(sides[name]())
            seconds[name].append(clock() - start)
    return seconds


def describe(name: str, seconds: dict[str, list[float]]) -> str:
    """Returns a row of the table: median times, and median and range of the ratio."""
    before, after = (statistics.median(seconds[side]) for side in ("before", "after"))
    ratios = [a / b for a, b in zip(seconds["before"], seconds["after"], strict=True)]
    middle = f"{statistics.median(ratios):.2f} ({min(ratios):.2f} ... {max(ratios):.2f})"
    return f"| {name} | {before:.3f} s | {after:.3f} s | {middle} |"


def _steps(case: Case) -> Callable[[], Any]:
    side = JaxganSide(case, draw_batch(case))
    return lambda: side.run(1)


def _compile(function: Callable[..., Any], *args: Any) -> Any:
    return jax.jit(function, compiler_options=compiler_options()).lower(*args).compile()


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--preset", choices=PRESETS)
    what.add_argument("--config", metavar="FILE")
    parser.add_argument("--set", nargs="+", default=[], metavar="FIELD=VALUE")
    parser.add_argument("--num_classes", type=int)
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=list(VARIANTS))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the seconds there")
    arguments = parser.parse_args(argv)
    try:
        case = load_case(arguments.preset, arguments.config, arguments.set, arguments.num_classes)
        setup_lib.validate(case.config)
    except (ConfigError, OSError) as error:
        print(f"variants: {error}", file=sys.stderr)
        return 2
    print("| variant | as it is | variant | as it is / variant: median (range) |\n|---|---|---|---|", flush=True)
    results = {}
    for name in arguments.variants:
        results[name] = measure(VARIANTS[name](case), arguments.rounds)
        print(describe(name, results[name]), flush=True)
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
