"""The pool against a loop over images in NumPy, and its two phases."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxgan.methods.image_pool import empty_pool, exchange

SHAPE = (1, 1, 1)


def numbered(start, count):
    return jnp.arange(start, start + count, dtype=jnp.float32).reshape(count, *SHAPE)


def run(pool, batches, seed=0):
    shown = []
    for i, batch in enumerate(batches):
        pool, seen = jax.jit(exchange)(pool, batch, jax.random.fold_in(jax.random.key(seed), i))
        shown.append(np.asarray(seen).ravel())
    return pool, shown


def test_a_pool_that_is_not_full_stores_and_shows_what_it_is_given():
    pool, shown = run(empty_pool(5, SHAPE), [numbered(1, 3)])
    assert shown[0].tolist() == [1, 2, 3]
    assert pool.images.ravel().tolist() == [1, 2, 3, 0, 0] and int(pool.count) == 3


def test_no_image_is_lost_and_none_is_seen_twice():
    """What was given = what was shown for good + what still lies in the pool, at every moment."""
    batches = [numbered(1 + 4 * i, 4) for i in range(60)]
    pool, shown = run(empty_pool(6, SHAPE), batches)
    new, old = [], []
    for batch, seen in zip(batches, shown, strict=True):
        for image, result in zip(np.asarray(batch).ravel(), seen, strict=True):
            (new if image == result else old).append(result)
    assert int(pool.count) == 6
    assert len(set(old)) == len(old)  # a stored image leaves the pool when it is shown
    stored = set(np.asarray(pool.images).ravel().tolist())
    first = set(range(1, 7))  # these were shown when they came, and stored
    assert stored | set(old) == first | {i for i in range(7, 241) if i not in new}
    assert not stored & set(old)


def test_half_of_the_images_are_exchanged_for_any_of_the_pool():
    size, batches = 4, [numbered(1 + 8 * i, 8) for i in range(250)]
    _, shown = run(empty_pool(size, SHAPE), batches, seed=3)
    given, seen = np.asarray(jnp.concatenate(batches)).ravel(), np.concatenate(shown)
    swapped = (given != seen)[size:]
    assert abs(swapped.mean() - 0.5) < 0.04  # 4 standard deviations of 2,000 tosses
    # An image stays for a geometric number of exchanges, 4 on average: 8 images.
    ages = (given - seen)[size:][swapped]
    assert abs(ages.mean() - 2 * size) < 1.2


def test_images_of_one_batch_meet_each_other():
    """One after the other, as the reference: with one place, the next exchange returns the image stored before."""
    pool, _ = run(empty_pool(1, SHAPE), [numbered(1, 1)])
    held = 1.0
    _, seen = exchange(pool, numbered(2, 64), jax.random.key(1))
    for image, result in zip(range(2, 66), np.asarray(seen).ravel(), strict=True):
        if result != image:
            assert result == held
            held = float(image)
    assert held != 1.0
