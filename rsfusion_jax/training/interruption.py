"""SIGTERM and SIGINT as a request to save and leave, in one process or several."""

import contextlib
import signal
import threading

import jax

from rsfusion_jax.errors import Interrupted


class StopRequest:
    """Notes SIGTERM and SIGINT while it is open; a second signal ends the process at once.

    During training steps the request waits for `due`; at any other time nothing is left to save,
    and `Interrupted` is raised from where the program is.

    Several processes must stop at the same step, though a signal reaches them at different ones or
    only one of them: there jax's preemption service takes SIGTERM and agrees on the step, and
    SIGINT is handed to it.
    """

    def __init__(self):
        self.signal: signal.Signals | None = None
        self._before = {}
        self._waits = False

    def __enter__(self):
        if threading.current_thread() is threading.main_thread():
            alone = jax.process_count() == 1
            mine = (signal.SIGTERM, signal.SIGINT) if alone else (signal.SIGINT,)
            self._before = {number: signal.signal(number, self._note) for number in mine}
        return self

    def __exit__(self, *_):
        for number, handler in self._before.items():
            signal.signal(number, handler)

    @contextlib.contextmanager
    def at_steps(self):
        """The part of a run that asks `due` after each step."""
        self._waits = True
        try:
            yield
        finally:
            self._waits = False

    def due(self, step: int) -> bool:
        """Whether to save and leave now, the same answer in every process; call once per step."""
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
            signal.raise_signal(signal.SIGTERM)  # os.kill ends the process at once on Windows
        elif not self._waits:
            raise Interrupted(
                f"stopped by {self.signal.name} outside of training steps, where nothing is left "
                "to save; start the same command again to go on"
            )
