"""Optimizers and learning-rate schedules from their settings."""

from __future__ import annotations

import optax

from jaxgan.config import OptimConfig


def make_schedule(config: OptimConfig) -> optax.Schedule:
    """Returns the learning rate as a function of the network's own number of updates."""
    if config.schedule == "constant":
        decay = optax.constant_schedule(config.lr)
    elif config.schedule == "linear":
        decay = optax.linear_schedule(
            config.lr, config.lr * config.end_factor, config.decay_steps, transition_begin=config.decay_begin
        )
    else:
        cosine = optax.cosine_decay_schedule(config.lr, config.decay_steps, alpha=config.end_factor)
        decay = optax.join_schedules([optax.constant_schedule(config.lr), cosine], [config.decay_begin])
    if not config.warmup_steps:
        return decay

    def warmed_up(count):  # multiplies, so that the decay keeps counting all updates
        return decay(count) * optax.linear_schedule(0.0, 1.0, config.warmup_steps)(count + 1)

    return warmed_up


def make_optimizer(config: OptimConfig) -> optax.GradientTransformation:
    """Returns the optax optimizer.

    Adam adds eps to the root of the bias-corrected second moment, as PyTorch does; TensorFlow and nnabla add it before
    the correction, which is a factor sqrt(1 - b2^t) on eps and negligible at 1e-8.
    """
    schedule = make_schedule(config)
    if config.name == "adam":
        tx = optax.adam(schedule, b1=config.b1, b2=config.b2, eps=config.eps)
    elif config.name == "rmsprop":
        # eps outside the root, no bias correction: torch.optim.RMSprop, which the WGAN code uses.
        tx = optax.rmsprop(schedule, decay=config.b2, eps=config.eps, eps_in_sqrt=False)
    else:
        tx = optax.sgd(schedule, momentum=config.b1 or None)
    if config.grad_clip_norm:
        tx = optax.chain(optax.clip_by_global_norm(config.grad_clip_norm), tx)
    return tx
