"""Reading ahead and writing behind the device, in order and with bounded queues."""

import collections
import concurrent.futures
import time
from collections.abc import Callable, Iterable, Iterator


class Ahead:
    """Threads that work on the next items while the caller is busy with the present one.

    Attributes:
        seconds: time that the threads spent working, summed.
    """

    def __init__(self, workers: int, depth: int):
        self._pool = concurrent.futures.ThreadPoolExecutor(workers)
        self._depth = depth
        self._behind = collections.deque()
        self.seconds = 0.0

    def map(self, function: Callable, items: Iterable) -> Iterator:
        """function(item) of every item in order; at most `depth` results wait."""
        waiting = collections.deque()
        for item in items:
            waiting.append(self._pool.submit(self._timed, function, item))
            if len(waiting) > self._depth:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()

    def put(self, function: Callable, *args) -> None:
        """Has function(*args) done behind the caller, who waits if `depth` of them are due."""
        while len(self._behind) >= self._depth:
            self._behind.popleft().result()
        self._behind.append(self._pool.submit(self._timed, function, *args))

    def drain(self) -> None:
        """Waits for everything put; raises what went wrong there."""
        while self._behind:
            self._behind.popleft().result()

    def close(self) -> None:
        """Gives up what has not begun and waits for what has."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _timed(self, function, *args):
        start = time.perf_counter()
        try:
            return function(*args)
        finally:
            self.seconds += time.perf_counter() - start
