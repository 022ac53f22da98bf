"""Latents: the distributions against SciPy, the numbering against every split, given ones checked."""

import numpy as np
import pytest
from scipy import stats

from jaxgan.generation.errors import RunError
from jaxgan.generation.latents import check_given, draw


def same(a, b):
    return all(np.array_equal(a[name], b[name]) and a[name].dtype == b[name].dtype for name in a)


@pytest.mark.parametrize("truncation", [None, 2.0, 0.5, 0.05])  # the last one has proposals of its own
def test_each_element_has_the_truncated_normal_distribution(truncation):
    z = draw(8, 0, 3, 0, 1000, truncation=truncation)["z"]
    assert z.shape == (1000, 8) and z.dtype == np.float32
    bound = truncation or np.inf
    assert np.abs(z).max() < bound
    reference = stats.truncnorm(-bound, bound)
    assert stats.kstest(z.ravel(), reference.cdf).pvalue > 0.01
    # Neighbours in either direction are independent: a key used twice would correlate them.
    for a, b in ((z[1:], z[:-1]), (z[:, 1:], z[:, :-1])):
        assert abs(np.corrcoef(a.ravel(), b.ravel())[0, 1]) < 0.05


def test_the_uniform_proposals_follow_the_bell_and_not_a_box():
    """At 0.09 the two differ by a part in 700 only, so the acceptance itself is looked at, at a bound of 3."""
    from jaxgan.generation import latents

    z = np.concatenate([draw(64, 0, seed, 0, 64, truncation=3.0)["z"].ravel() for seed in (0, 1)])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(latents, "_UNIFORM_BELOW", 4.0)
        proposed = np.concatenate([draw(64, 0, seed, 0, 64, truncation=3.0)["z"].ravel() for seed in (0, 1)])
    assert stats.kstest(proposed, stats.truncnorm(-3, 3).cdf).pvalue > 0.01
    assert not np.array_equal(z, proposed) and np.abs(proposed).max() < 3


@pytest.mark.parametrize("truncation", [None, 0.7, 0.05])
def test_a_sample_depends_on_seed_and_number_alone(truncation):
    whole = draw(5, 7, 1, 0, 150, truncation=truncation)
    for cuts in ([0, 150], [0, 1, 63, 64, 150], [0, 100, 101, 149, 150]):
        parts = [draw(5, 7, 1, a, b - a, truncation=truncation) for a, b in zip(cuts, cuts[1:], strict=False)]
        assert same({name: np.concatenate([part[name] for part in parts]) for name in whole}, whole)
    assert draw(5, 7, 1, 9, 0)["z"].shape == (0, 5)
    assert len(np.unique(whole["z"][:, 0])) > 140
    assert not np.array_equal(draw(5, 7, 2, 0, 150, truncation=truncation)["z"], whole["z"])


def test_labels_are_uniform_and_independent_of_what_else_is_asked():
    drawn = draw(2, 5, 0, 0, 2000)
    assert drawn["labels"].dtype == np.int32
    counts = np.bincount(drawn["labels"], minlength=5)
    assert len(counts) == 5 and stats.chisquare(counts).pvalue > 0.01
    assert np.array_equal(draw(2, 5, 0, 0, 2000, truncation=0.5)["labels"], drawn["labels"])
    one_class = draw(2, 5, 0, 0, 2000, class_id=3)
    assert np.array_equal(one_class["z"], drawn["z"]) and set(one_class["labels"]) == {3}
    without = draw(2, 0, 0, 0, 2000)
    assert np.array_equal(without["z"], drawn["z"]) and set(without["labels"]) == {0}


def test_truncation_redraws_only_what_lies_outside():
    free, bound = draw(4, 0, 0, 0, 64)["z"], draw(4, 0, 0, 0, 64, truncation=1.0)["z"]
    inside = np.abs(free) < 1
    assert 0.5 < inside.mean() < 0.8
    assert np.array_equal(free[inside], bound[inside]) and not np.any(free[~inside] == bound[~inside])
    assert np.array_equal(draw(4, 0, 0, 0, 64, truncation=float("inf"))["z"], free)


@pytest.mark.parametrize("truncation", [0, -1.0, float("nan"), 1e-9])
def test_a_truncation_that_leaves_nothing_is_refused(truncation):
    with pytest.raises(RunError, match="must be a positive number"):
        draw(4, 0, 0, 0, 1, truncation=truncation)


def test_seeds_and_classes_out_of_range_are_refused():
    for seed in (-1, 2**32):
        with pytest.raises(RunError, match=f"seed \\(={seed}\\) must be 0 ... 4294967295"):
            draw(4, 0, seed, 0, 1)
    assert draw(4, 0, 2**32 - 1, 2**32 - 70, 3)["z"].shape == (3, 4)
    for class_id, num_classes in ((-1, 3), (3, 3), (0, 0)):
        with pytest.raises(RunError, match=f"class {class_id} must be one of"):
            draw(4, num_classes, 0, 0, 1, class_id=class_id)


def test_given_inputs_are_converted():
    z = np.arange(6).reshape(3, 2)
    found = check_given(2, 4, z, [3, 0, 1])
    assert same(found, {"z": z.astype(np.float32), "labels": np.array([3, 0, 1], np.int32)})
    assert list(check_given(2, 4, z, 2)["labels"]) == [2, 2, 2]
    assert list(check_given(2, 0, z, None)["labels"]) == list(check_given(2, 0, z, [0, 0, 0])["labels"]) == [0, 0, 0]
    mixtures = check_given(2, 4, z, np.full((3, 4), 0.25))["labels"]
    assert mixtures.shape == (3, 4) and mixtures.dtype == np.float32


@pytest.mark.parametrize(
    ("z", "labels", "num_classes", "text"),
    [
        (np.zeros((3, 5)), [0, 0, 0], 4, r"z \(=float64\[3, 5\]\) must be numbers \[N, 2\]"),
        (np.zeros(2), [0], 4, r"z \(=float64\[2\]\)"),
        (np.zeros((0, 2)), np.zeros(0, int), 4, "N >= 1"),
        (np.array([["a", "b"]]), [0], 4, "must be numbers"),
        (np.array([[1.0, np.nan]]), [0], 4, "not finite"),
        (np.zeros((3, 2)), None, 4, "labels are missing"),
        (np.zeros((3, 2)), [0, 1], 4, r"must be integers \[3\]"),
        (np.zeros((3, 2)), [0, 1, 4], 4, r"labels \(0 ... 4\) must be integers \[3\] within 0 ... 3"),
        (np.zeros((3, 2)), [0, -1, 0], 4, r"labels \(-1 ... 0\)"),
        (np.zeros((3, 2)), [0, 1, 0], 0, r"within 0 ... 0"),
        (np.zeros((3, 2)), [0.0, 1.0, 0.0], 4, r"labels \(=float64\[3\]\)"),
        (np.zeros((3, 2)), np.zeros((3, 5)), 4, r"labels \(=float64\[3, 5\]\)"),
    ],
)
def test_given_inputs_that_do_not_fit_are_named(z, labels, num_classes, text):
    with pytest.raises(RunError, match=text):
        check_given(2, num_classes, z, labels)
