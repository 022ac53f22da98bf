"""THE loop. Read `train` and `_attempt` from top to bottom to know what a run does, in which order."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import jax

from jaxgan import config_tree
from jaxgan.config import Config
from jaxgan.core import sharding as sharding_lib
from jaxgan.core.checkpoint import Checkpointer
from jaxgan.core.network import Network
from jaxgan.core.state import TrainState
from jaxgan.data.domains import DomainsDataset
from jaxgan.data.pipeline import Dataset, open_dataset
from jaxgan.generation import sampler as sampler_lib
from jaxgan.methods.base import Method
from jaxgan.training import lock, recording
from jaxgan.training import setup as setup_lib
from jaxgan.training import workdir as workdir_lib
from jaxgan.training.data_wait import DataWait
from jaxgan.training.epochs import EpochMeans
from jaxgan.training.gates import attention_gates
from jaxgan.training.metrics import HealthError, MetricWindow
from jaxgan.training.preemption import StopRequest
from jaxgan.training.rollback import Rollbacks
from jaxgan.training.status import StatusLine
from jaxgan.training.watch import Watch
from jaxgan.training.writers import make_writer

Evaluate = Callable[[TrainState, Mapping[str, Network]], Mapping[str, float]]


def train(
    config: Config,
    workdir: str | os.PathLike[str],
    *,
    method: Method | None = None,
    dataset: Dataset | DomainsDataset | None = None,
    evaluate: Evaluate | None = None,
    accept_config_change: bool = False,
) -> TrainState:
    """Trains until `config.total_steps`, going on from the newest checkpoint in `workdir`.

    Calling it again with the same arguments after any interruption continues bit-exactly. A training that goes wrong
    (see `health.py`) is rolled back to a healthy checkpoint and begun again from there, a bounded number of times.

    Args:
      config: the settings.
      workdir: folder of the run; README says what lies in it.
      method: what to train; None = what `config` describes.
      dataset: the data; None = `config.data`.
      evaluate: called every `config.eval.every_steps` with the state and the networks; returns scores by name.
      accept_config_change: go on in a workdir that was trained with other settings.

    Returns:
      The final state, or the saved one if SIGTERM or Ctrl-C asked to stop.

    Raises:
      ConfigError, DataError, WorkdirError, CheckpointError, HealthError (NonFiniteError is one): each with one sentence
        for the user.
    """
    setup_lib.validate(config, own_method=method is not None)
    workdir, is_primary = Path(workdir), jax.process_index() == 0
    dataset = open_dataset(config.data) if dataset is None else dataset
    rollbacks = Rollbacks(workdir, config, own_method=method is not None, is_primary=is_primary)
    setup = setup_lib.prepare(rollbacks.config(), dataset.spec, method)
    with contextlib.ExitStack() as stack:
        locked = stack.enter_context(lock.hold(workdir)) if is_primary else True
        workdir_lib.claim(workdir, config, dataset.spec, accept_changes=accept_config_change, is_primary=is_primary)
        images_per_step = config.batch_size * config.num_d_steps
        status = StatusLine(total_steps=config.total_steps, images_per_step=images_per_step, enabled=is_primary)
        stack.callback(status.close)
        if not locked:
            status.say(f"{workdir} is on a file system without locks: start no second training there.")
        checkpointer = Checkpointer(workdir / "checkpoints", config.checkpoint)
        stack.callback(checkpointer.close)
        stop = stack.enter_context(StopRequest())
        stack.enter_context(_last_checkpoint_named(checkpointer, workdir))
        while True:
            try:
                return _attempt(config, workdir, dataset, setup, evaluate, checkpointer, rollbacks, status, stop)
            except HealthError as error:
                failure = error.with_traceback(None)  # its frames would keep the arrays of this attempt
            status.say(rollbacks.roll_back(failure, checkpointer))
            setup = setup_lib.prepare(rollbacks.config(), dataset.spec, method)


def _attempt(
    config: Config,
    workdir: Path,
    dataset: Dataset | DomainsDataset,
    setup: setup_lib.Setup,
    evaluate: Evaluate | None,
    checkpointer: Checkpointer,
    rollbacks: Rollbacks,
    status: StatusLine,
    stop: StopRequest,
) -> TrainState:
    """Trains from the newest valid checkpoint until the end, or a stop; raises HealthError if the training fails."""
    is_primary = jax.process_index() == 0
    images_per_step = config.batch_size * config.num_d_steps
    if (latest := rollbacks.next_step(checkpointer)) is not None:
        status.note(f"restoring step {latest:,} ...")
    state, first_step = rollbacks.restore(checkpointer, setup.state), latest or 0
    if first_step >= config.total_steps:
        status.note(f"step {first_step:,} of {config.total_steps:,} is done; raise --config.total_steps to go on.")
        return state
    run = {
        "config": config_tree.to_dict(config),
        "data": workdir_lib.describe_data(dataset.spec),
        "rollbacks": rollbacks.count,
    }
    root_key = rollbacks.root_key(setup.root_key)

    writer = make_writer(workdir, resume_step=latest, is_primary=is_primary)
    record = recording.Recorder(workdir, config, writer, status, is_primary=is_primary)
    record.start(setup, dataset, first_step)
    status.note("compiling the train step ...")
    train_step = setup.lower().compile()
    sampler = sampler_lib.make_sampler(setup.method, setup.networks, sharding=sharding_lib.replicated(setup.mesh))
    inputs = jax.device_put(
        sampler_lib.fixed_inputs(
            setup.method, config.seed, config.sample.rows, config.sample.columns, recording.examples(dataset, config)
        ),
        sharding_lib.replicated(setup.mesh),
    )
    epochs = EpochMeans(setup.metric_names, images_per_step=images_per_step, num_images=dataset.spec.num_images)
    window = MetricWindow(setup.metric_names, tuple(setup.networks), epochs)
    batches = dataset.batches(
        seed=config.seed,
        batch_size=config.batch_size,
        num_d_steps=config.num_d_steps,
        start_step=first_step,
        stop_step=config.total_steps,
        process_index=jax.process_index(),
        process_count=jax.process_count(),
    )
    data_wait = DataWait(batches)
    health = Watch(config, setup.method, dataset, inputs, record=record, status=status, rollbacks=rollbacks)
    with contextlib.ExitStack() as stack:
        for closing in (writer.close, batches.close, record.close):
            stack.callback(closing)
        stack.enter_context(jax.transfer_guard("disallow"))
        # The order of operations matters: an event sees the state after `step` updates, metrics are fetched one step
        # late so that the device never waits for the host, and a state is checked before it is saved.
        for step in range(first_step + 1, config.total_steps + 1):
            batch = sharding_lib.put_batch(data_wait.next(), setup.mesh)
            with jax.profiler.StepTraceAnnotation("train", step_num=step):
                state, metrics = train_step(state, batch, root_key)
            window.add(step, metrics)
            data_wait.dispatched(metrics)
            record.step_done(step)
            if step == first_step + 1:
                jax.block_until_ready(metrics)
                status.restart(step)
                data_wait.share()
            if (late := step - 1) > first_step and late % config.log.every_steps == 0:
                metrics_late = window.fetch(late)
                health.steps(window.fetched())
                record.epochs(window.finished_epochs())
                record.metrics(late, metrics_late, data_wait=data_wait.share())
                checkpointer.check()
            last = step == config.total_steps or stop.requested(step)
            draws = _is_due(step, config.sample.every_steps) or step == config.total_steps
            evaluates = evaluate is not None and _is_due(step, config.eval.every_steps)
            if last or draws or evaluates or checkpointer.is_due(step):
                jax.block_until_ready(metrics)  # else the events below would be charged for the steps before them
            if draws:
                with status.waiting("drawing samples ..."):
                    grids = sampler_lib.sample_grids(sampler, state.nets, state.ema, inputs)
                    record.samples(step, grids)
                    record.gates(step, attention_gates(state.nets))
                    health.samples(step, grids)
            scores: Mapping[str, float] = {}
            if evaluate is not None and evaluates:
                with status.waiting("evaluating ..."), jax.transfer_guard("allow"):
                    scores = record.scores(step, evaluate(state, setup.networks))
            if last or scores or checkpointer.is_due(step):
                with status.waiting(f"saving step {step:,} ..."):
                    metrics_now = window.fetch(step)
                    health.steps(window.fetched())
                    record.epochs(window.finished_epochs())
                    if step % config.log.every_steps == 0 or last:
                        record.metrics(step, metrics_now, data_wait=data_wait.share())
                    with jax.transfer_guard("allow"):
                        checkpointer.save(step, state, run, scores, healthy=health.is_healthy)
            if last:
                break
        checkpointer.wait()
    record.finished(step, stopped=stop.signal_name if step < config.total_steps else None)
    return state


def _is_due(step: int, every: int) -> bool:
    return every > 0 and step % every == 0


@contextlib.contextmanager
def _last_checkpoint_named(checkpointer: Checkpointer, workdir: Path) -> Iterator[None]:
    """Adds to a full disk what the user needs next: where to go on from."""

    def last_good() -> str:
        with contextlib.suppress(Exception):
            checkpointer.wait()
        latest = checkpointer.latest_step()
        return f"the last good checkpoint is step {latest}" if latest is not None else "there is no checkpoint yet"

    try:
        yield
    except OSError as error:
        reason = error.strerror or error
        raise workdir_lib.WorkdirError(
            f"cannot write to {workdir} ({reason}); {last_good()}. Make room and type the same command to go on."
        ) from error
