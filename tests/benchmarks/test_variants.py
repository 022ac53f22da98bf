"""The pairs that are timed compute the same, and a row says what was measured."""

import jax
import numpy as np
import pytest

from benchmarks import variants
from benchmarks.cases import load_case

TINY = ["batch_size=4", "data.resolution=8", "model.g_widths=8,8", "model.d_widths=8,8", "model.attention_resolutions="]
CASE = load_case("sagan32", None, TINY, None)


@pytest.mark.parametrize("name", ["g_at_once", "fused_attention"])
def test_a_variant_computes_what_it_stands_in_for(name):
    before, after = variants.VARIANTS[name](CASE)
    for a, b in zip(jax.tree.leaves(before()), jax.tree.leaves(after()), strict=True):
        scale = np.abs(np.asarray(a, np.float32)).max()
        np.testing.assert_allclose(b, a, atol=1e-4 * max(scale, 1.0))


def test_sides_take_turns_and_a_row_compares_them_round_by_round():
    calls, now = [], iter([0, 2, 2, 3, 3, 4, 4, 12])  # before, after; after, before

    def side(name):
        return lambda: calls.append(name)

    seconds = variants.measure((side("before"), side("after")), 2, clock=lambda: next(now))
    assert calls == ["before", "after", "before", "after", "after", "before"]  # the first two compile
    assert seconds == {"before": [2, 8], "after": [1, 1]}
    assert variants.describe("x", seconds) == "| x | 5.000 s | 1.000 s | 5.00 (2.00 ... 8.00) |"
