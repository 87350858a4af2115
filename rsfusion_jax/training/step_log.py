"""What the steps of a run report: losses, rates, and whether a loss is one to stop at."""

import collections
import math
import time

import jax
import numpy as np

from rsfusion_jax.compilation import compiler_options, platform_of
from rsfusion_jax.runs.processes import barrier
from rsfusion_jax.training.writers import RunLog

_WINDOW, _ENOUGH = 100, 20  # losses that a spike is measured against, at most and at least


class BadLossError(Exception):
    """A loss or gradient that is not finite, or a spike.

    Attributes:
        step: where it was.
        what: the words for it.
    """

    def __init__(self, step: int, what: str):
        super().__init__(f"{what} at step {step}")
        self.step, self.what = step, what


class StepLog:
    """Collects the steps' scalars on the device and writes them in one transfer when asked.

    Fetching every step's loss would make the host wait for the device at each of them.

    Args:
        log: where they are written.
        schedule: learning rate of a step.
        batch_size: patches per step over all devices.
        devices: their number.
        spike: a loss above this many times the median of the last 100 counts as bad; 0: none does.
    """

    def __init__(self, log: RunLog, schedule, batch_size: int, devices: int, spike: float = 0.0):
        self._log, self._schedule, self._spike = log, schedule, spike
        self._batch_size, self._devices = batch_size, devices
        self._recent = collections.deque(maxlen=_WINDOW)
        self.restart()

    def restart(self) -> None:
        """Forgets steps not yet written, and starts the clock."""
        self._pending: list[tuple[int, dict]] = []
        self._start, self._waited, self._compiling = time.perf_counter(), 0.0, 0.0

    def timed(self, function, *args):
        """Calls a function and counts its time as waiting for data."""
        start = time.perf_counter()
        result = function(*args)
        self._waited += time.perf_counter() - start
        return result

    def compile(self, function, *args):
        """Compiles a jitted function for these arguments; its time is reported apart.

        Processes leave together: on CPUs the first collective of a program fails where one of them
        comes to it 30 s after another, and compilation alone can take that much longer.
        """
        start = time.perf_counter()
        compiled = function.lower(*args).compile(compiler_options(platform_of(args)))
        barrier("compiled")
        self._compiling += time.perf_counter() - start
        return compiled

    def add(self, step: int, metrics: dict) -> None:
        """Takes a step's scalars without waiting for them."""
        self._pending.append((step, metrics))

    def flush(self) -> str | None:
        """Writes the mean over the steps since the last flush; returns a note for the screen.

        Raises:
            BadLossError: one of these steps must not be built upon.
        """
        if not self._pending:
            return None
        steps, metrics = zip(*self._pending, strict=True)
        metrics = jax.device_get(metrics)
        seconds = time.perf_counter() - self._start - self._compiling
        values = {f"train/{k}": np.mean([m[k] for m in metrics]) for k in metrics[0]}
        values["train/learning_rate"] = float(self._schedule(steps[-1] - 1))
        values["speed/steps_per_second"] = len(steps) / seconds
        values["speed/images_per_second"] = self._batch_size * len(steps) / seconds
        values["speed/images_per_second_per_device"] = (
            values["speed/images_per_second"] / self._devices
        )
        values["speed/data_wait"] = self._waited / seconds
        if self._compiling:
            values["speed/compile_seconds"] = self._compiling
        values.update(_device_memory())
        self._log.scalars(steps[-1], values)
        self.restart()
        for step, scalars in zip(steps, metrics, strict=True):
            self._check(step, scalars)
        return f"loss {values['train/loss']:.5f}"

    def _check(self, step: int, scalars: dict) -> None:
        loss = float(scalars["loss"])
        if not math.isfinite(loss):
            raise BadLossError(step, "the loss is not finite")
        if not math.isfinite(scalars["grad_norm"]):
            raise BadLossError(step, "the gradient is not finite")
        if self._spike and len(self._recent) >= _ENOUGH:
            usual = float(np.median(self._recent))
            if loss > self._spike * usual:
                raise BadLossError(step, f"the loss {loss:.4g} is a spike over {usual:.4g}")
        self._recent.append(loss)


def _device_memory() -> dict[str, float]:
    """The fullest of this process's devices, in MiB; nothing where the backend does not say."""
    stats = [device.memory_stats() or {} for device in jax.local_devices()]
    names = {"peak_bytes_in_use": "peak_mib", "bytes_in_use": "in_use_mib"}
    return {
        f"memory/{name}": max(s[key] for s in stats) / 2**20
        for key, name in names.items()
        if all(key in s for s in stats)
    }
