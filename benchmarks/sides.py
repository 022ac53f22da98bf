"""The two sides of the comparison, each ready to run: compiled, warm, its batch on the device."""

from __future__ import annotations

import time
from typing import Any, Protocol

import jax
import numpy as np

from benchmarks.cases import Case
from jaxgan import config as config_lib
from jaxgan.core import sharding
from jaxgan.data.spec import DataSpec
from jaxgan.training import setup as setup_lib
from jaxgan.training.step import make_step

Batch = dict[str, np.ndarray]
Memory = tuple[int | None, str]  # bytes, where the number comes from


class Side(Protocol):
    """One implementation of the step."""

    name: str
    num_params: dict[str, int]  # of each network
    start_seconds: float  # jaxgan: tracing and compilation; PyTorch: the first step, with all that it sets up
    memory: Memory

    def run(self, steps: int) -> None:
        """Trains that many steps and waits until the device has done them."""
        ...


def describe_data(case: Case) -> DataSpec:
    """Returns the facts of the synthetic data; what reads files is not needed."""
    height, width = case.config.data.height_width
    domains = int(case.config.method.name in config_lib.TRANSLATING)
    channels = case.config.data.channels
    return DataSpec(height, width, channels, case.num_classes, (), num_images=0, fingerprint="", num_images_b=domains)


def draw_batch(case: Case, seed: int = 0) -> Batch:
    """Returns noise, uint8 (num_d_steps, B, H, W, C): images and labels int32 (num_d_steps, B), or two domains."""
    rng = np.random.default_rng(seed)
    batch = {}
    for name, rows in setup_lib.batch_shape(case.config, describe_data(case)).items():
        high = max(case.num_classes, 1) if name == "labels" else 256
        batch[name] = rng.integers(0, high, rows.shape, rows.dtype)
    return batch


class JaxganSide:
    """The step that `jaxgan.main` trains with.

    Attributes:
      flops: floating-point operations of one step on all devices, as XLA counts them in the program before
        optimisation, D's updates unrolled. That program is the same on every device; the compiled one hides
        convolutions inside library calls on some, and the body of a loop is counted once whatever its number of turns.
      compiled_flops: XLA's count of the compiled program, of one device; on CPU within a few per cent of `flops`.
    """

    name = "jaxgan"

    def __init__(self, case: Case, batch: Batch):
        before = _peak_bytes()
        setup = setup_lib.prepare(case.config, describe_data(case))
        start = time.perf_counter()
        self._step = setup.lower().compile()
        self.start_seconds = time.perf_counter() - start
        self.num_params = {
            name: sum(leaf.size for leaf in jax.tree.leaves(net.params)) for name, net in setup.state.nets.items()
        }
        unrolled = make_step(setup.method, setup.networks, scaling=case.config.data.scaling, unroll=True)
        shapes = setup_lib.batch_shape(case.config, describe_data(case))
        self.flops = _flops(jax.jit(unrolled).lower(setup.state, shapes, setup.root_key))
        self.compiled_flops = _flops(self._step)
        self._state, self._root_key = setup.state, setup.root_key
        self._batch = sharding.put_batch(batch, setup.mesh)
        self.run(1)
        self.memory: Memory = self._planned_memory()
        after = _peak_bytes()
        if after is not None and after > (before or 0):  # the peak of a process never falls: only a rise is ours
            self.memory = after, "allocator's peak"

    def run(self, steps: int) -> None:
        metrics: Any = None
        for _ in range(steps):
            self._state, metrics = self._step(self._state, self._batch, self._root_key)
        jax.block_until_ready((self._state, metrics))

    def _planned_memory(self) -> Memory:
        plan = self._step.memory_analysis()
        if plan is None:
            return None, "not known"
        return plan.argument_size_in_bytes + plan.temp_size_in_bytes, "compiler's plan: arguments and temporaries"


class PeerSide:
    """The PyTorch peer on the device that jaxgan uses.

    Args:
      settings: of `TorchPeer`, or of `CycleGANPeer` and its kind.
      batch: as for jaxgan.
      compile: torch.compile (True) or eager.

    Raises:
      RuntimeError: torch.compile fails, or the device has too little memory.
    """

    def __init__(self, settings: dict[str, Any], batch: Batch, *, compile: bool):
        import torch

        from benchmarks.torch_cyclegan_peer import CycleGANPeer
        from benchmarks.torch_peer import TorchPeer

        self.name = "PyTorch compiled" if compile else "PyTorch eager"
        on_gpu = torch.device(settings.get("device", "cpu")).type == "cuda"
        resident = torch.cuda.memory_allocated() if on_gpu else 0  # of an earlier side
        if on_gpu:
            torch.cuda.reset_peak_memory_stats()
        if settings["kind"] == "cyclegan":
            rest = {name: value for name, value in settings.items() if name != "kind"}
            self._peer = CycleGANPeer(**rest, compile=compile)
        else:
            self._peer = TorchPeer(**settings, compile=compile)
        self.num_params = self._peer.num_params()
        # In the order of their arguments: images and labels, or a and b.
        self._batch = [torch.from_numpy(rows).to(self._peer.device) for rows in batch.values()]
        start = time.perf_counter()
        self.run(1)
        self.start_seconds = time.perf_counter() - start
        self.run(1)  # what the first step left to the second, such as a recompilation
        peak = torch.cuda.max_memory_allocated() - resident if on_gpu else None
        self.memory: Memory = (peak, "allocator's peak" if on_gpu else "not known: shares the process with jaxgan")

    def run(self, steps: int) -> None:
        for _ in range(steps):
            self._peer.step(*self._batch)
        self._peer.synchronize()


def _flops(stage: Any) -> float | None:
    analysis = stage.cost_analysis()
    analysis = analysis[0] if isinstance(analysis, list) else analysis
    return float(analysis["flops"]) if analysis and "flops" in analysis else None


def _peak_bytes() -> int | None:
    return (jax.devices()[0].memory_stats() or {}).get("peak_bytes_in_use")
