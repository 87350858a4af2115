"""Write a profiler trace of a few training steps, for TensorBoard's profile page or XProf."""

from pathlib import Path

import jax

from rsfusion_jax.runs.processes import is_first

# The first steps compile and fill queues, and are not traced.
_SKIPPED, _TRACED = 3, 5


class Profile:
    """Context manager that traces a few steps into the TensorBoard folder of a run.

    Args:
        workdir: the run folder.
        first: number of steps already taken when the run starts or resumes; None traces nothing.
    """

    def __init__(self, workdir: Path, first: int | None):
        self._folder = str(workdir / "tensorboard")
        enabled = first is not None and is_first()
        self._start = first + _SKIPPED + 1 if enabled else None
        self._running = False

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self._running:
            self._stop()

    def before(self, step: int) -> None:
        """Start or stop the trace if it is due; call this before each step."""
        if step == self._start:
            jax.profiler.start_trace(self._folder)
            self._running = True
        elif self._running and step == self._start + _TRACED:
            self._stop()

    def _stop(self) -> None:
        jax.profiler.stop_trace()
        self._running = False
        print(f"trace of some steps: tensorboard --logdir {self._folder}, page Profile")
