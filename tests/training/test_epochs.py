"""Means over epochs against a loop that looks at every image."""

import numpy as np

from jaxgan.training.epochs import EpochMeans


def test_epochs_end_where_the_images_are_used_up():
    """7 images, 3 per step: the 7th lies in step 3, the 14th in step 5, the 21st in step 7."""
    means = EpochMeans(["loss", "norm"], images_per_step=3, num_images=7)
    values = np.random.default_rng(0).normal(size=(8, 2))
    found = [means.add(step, values[step]) for step in range(1, 8)]
    assert [epoch and (epoch.number, epoch.step, epoch.num_steps) for epoch in found] == [
        None, None, (1, 3, 3), None, (2, 5, 2), None, (3, 7, 2),
    ]  # fmt: skip
    second = found[4]
    assert second is not None
    np.testing.assert_allclose([second.means["loss"], second.means["norm"]], values[4:6].mean(axis=0))


def test_a_resumed_epoch_says_how_many_steps_it_saw():
    means = EpochMeans(["loss"], images_per_step=1, num_images=5)
    epoch = [means.add(step, np.ones(1)) for step in (4, 5)][-1]
    assert epoch is not None and epoch.num_steps == 2 and epoch.number == 1


def test_a_step_of_several_epochs_is_one_summary():
    means = EpochMeans(["loss"], images_per_step=10, num_images=4)
    assert [epoch.number for step in (1, 2) if (epoch := means.add(step, np.ones(1)))] == [2, 5]
