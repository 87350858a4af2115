"""Handle SIGTERM and SIGINT: save a checkpoint and stop, in one process or in several."""

import contextlib
import signal
import threading

import jax

from rsfusion_jax.errors import Interrupted


class StopRequest:
    """Context manager that records SIGTERM and SIGINT; a second signal ends the process at once.

    During training steps (within `at_steps`) a signal is only recorded, and the loop asks `due`
    after each step. At any other time there is nothing to save, and the signal handler raises
    `Interrupted` immediately.

    Several processes must stop at the same step, although the signal may reach them at different
    steps or reach only one of them. JAX's preemption service therefore handles SIGTERM and makes
    the processes agree on a step; SIGINT is forwarded to it as SIGTERM.
    """

    def __init__(self):
        self.signal: signal.Signals | None = None
        self._previous = {}
        self._deferred = False

    def __enter__(self):
        if threading.current_thread() is threading.main_thread():
            alone = jax.process_count() == 1
            handled = (signal.SIGTERM, signal.SIGINT) if alone else (signal.SIGINT,)
            self._previous = {number: signal.signal(number, self._note) for number in handled}
        return self

    def __exit__(self, *_):
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    @contextlib.contextmanager
    def at_steps(self):
        """Mark the part of a run that calls `due` after each step."""
        self._deferred = True
        try:
            yield
        finally:
            self._deferred = False

    def due(self, step: int) -> bool:
        """Tell whether to save and stop after this step; call it once per step.

        Args:
            step: number of the step just taken.

        Returns:
            The same answer in every process.
        """
        if jax.process_count() == 1:
            return self.signal is not None
        from jax.experimental import multihost_utils

        if not multihost_utils.reached_preemption_sync_point(step):
            return False
        self.signal = self.signal or signal.SIGTERM
        return True

    def _note(self, number, frame):
        self.signal = signal.Signals(number)
        signal.signal(number, signal.SIG_DFL)
        if jax.process_count() > 1:
            # Not os.kill, which ends the process at once on Windows.
            signal.raise_signal(signal.SIGTERM)
        elif not self._deferred:
            raise Interrupted(
                f"stopped by {self.signal.name} outside of training steps, where there is nothing "
                "to save; start the same command again to resume"
            )
