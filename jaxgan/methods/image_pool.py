"""A pool of earlier translations that the discriminator sees again."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import struct


class ImagePool(struct.PyTreeNode):
    """Part of the train state, hence of the checkpoint."""

    images: jax.Array  # float32 (size, H, W, C)
    count: jax.Array  # int32 scalar: how many of them are filled


def empty_pool(size: int, shape: tuple[int, int, int]) -> ImagePool:
    """Returns a pool of `size` images of `shape` (H, W, C), none of them filled."""
    return ImagePool(images=jnp.zeros((size, *shape), jnp.float32), count=jnp.zeros((), jnp.int32))


def exchange(pool: ImagePool, images: jax.Array, key: jax.Array) -> tuple[ImagePool, jax.Array]:
    """Shows new images to the pool, one after the other; returns the new pool and what D is to see in their place.

    While the pool is not full an image is stored and seen. Afterwards, with probability 1/2, the image takes the place
    of a random stored one, which is seen instead; else it is seen and not stored.

    Args:
      pool: of size >= 1.
      images: float32 (B, H, W, C).
      key: of these images.

    Reference: Shrivastava et al. 2017 (arXiv:1612.07828), section 2.3, as used by CycleGAN, Zhu et al. 2017
    (arXiv:1703.10593), section 4; matches pytorch-CycleGAN-and-pix2pix's `ImagePool.query`.
    """
    size = pool.images.shape[0]

    def exchange_one(pool: ImagePool, new: tuple[jax.Array, jax.Array]) -> tuple[ImagePool, jax.Array]:
        image, key = new
        slot_key, coin_key = jax.random.split(key)
        filling = pool.count < size
        slot = jnp.where(filling, pool.count, jax.random.randint(slot_key, (), 0, size))
        swaps = ~filling & jax.random.bernoulli(coin_key)
        old = pool.images[slot]
        stored = pool.images.at[slot].set(jnp.where(filling | swaps, image, old))
        pool = ImagePool(images=stored, count=jnp.minimum(pool.count + 1, size))
        return pool, jnp.where(swaps, old, image)

    keys = jax.random.split(key, images.shape[0])
    return jax.lax.scan(exchange_one, pool, (images.astype(jnp.float32), keys))
