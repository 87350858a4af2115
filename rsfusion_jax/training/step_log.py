"""Log of the training steps: losses, speeds, and detection of bad losses."""

import collections
import math
import time

import jax
import numpy as np

from rsfusion_jax.compilation import compiler_options, platform_of
from rsfusion_jax.runs.processes import barrier
from rsfusion_jax.training.writers import RunLog

# Largest and smallest number of earlier losses whose median a spike is compared with.
_WINDOW, _ENOUGH = 100, 20


class BadLossError(Exception):
    """A loss or gradient is not finite, or the loss is a spike.

    Attributes:
        step: step at which it occurred.
        what: description of the problem.
    """

    def __init__(self, step: int, what: str):
        super().__init__(f"{what} at step {step}")
        self.step, self.what = step, what


class StepLog:
    """Collect the scalars of the steps on the device and write them in one transfer on `flush`.

    If the loss was fetched at every step, the host would wait for the device at each of them.

    Args:
        log: the log that the scalars are written to.
        schedule: learning rate as a function of the step.
        batch_size: patches per step, over all devices.
        devices: number of devices.
        spike: a loss above `spike` times the median of the last 100 losses is bad; 0 disables this.
    """

    def __init__(self, log: RunLog, schedule, batch_size: int, devices: int, spike: float = 0.0):
        self._log, self._schedule, self._spike = log, schedule, spike
        self._batch_size, self._devices = batch_size, devices
        self._recent = collections.deque(maxlen=_WINDOW)
        self.restart()

    def restart(self) -> None:
        """Discard the steps not yet written, and reset the timers."""
        self._pending: list[tuple[int, dict]] = []
        self._start, self._waited, self._compiling = time.perf_counter(), 0.0, 0.0

    def timed(self, function, *args):
        """Call a function and count its time as waiting for data."""
        start = time.perf_counter()
        result = function(*args)
        self._waited += time.perf_counter() - start
        return result

    def compile(self, function, *args):
        """Compile a jitted function for these arguments; its time is logged separately.

        All processes wait here for each other: on CPUs the first collective operation of a program
        fails if one process reaches it more than 30 s after another, and compilation times alone
        can differ by that much.
        """
        start = time.perf_counter()
        compiled = function.lower(*args).compile(compiler_options(platform_of(args)))
        barrier("compiled")
        self._compiling += time.perf_counter() - start
        return compiled

    def add(self, step: int, metrics: dict) -> None:
        """Add the scalars of a step, without waiting for their values."""
        self._pending.append((step, metrics))

    def flush(self) -> str | None:
        """Write the means over the steps since the last flush.

        Returns:
            Text for the progress bar, or None if there were no new steps.

        Raises:
            BadLossError: one of these steps has a bad loss or gradient, so that its weights must
                not be used.
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
            median = float(np.median(self._recent))
            if loss > self._spike * median:
                raise BadLossError(step, f"the loss {loss:.4g} is a spike over {median:.4g}")
        self._recent.append(loss)


def _device_memory() -> dict[str, float]:
    """Return the largest memory use among this process's devices in MiB; empty if unknown."""
    stats = [device.memory_stats() or {} for device in jax.local_devices()]
    names = {"peak_bytes_in_use": "peak_mib", "bytes_in_use": "in_use_mib"}
    return {
        f"memory/{name}": max(s[key] for s in stats) / 2**20
        for key, name in names.items()
        if all(key in s for s in stats)
    }
