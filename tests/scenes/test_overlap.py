"""Reading, the device and storing work at the same time: a loop takes as long as the slowest."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from rsfusion_jax.scenes.work.loop import work_off
from rsfusion_jax.scenes.work.memory import AHEAD, READERS, WorkPlan

BLOCKS, SECONDS = 24, 0.02


class Later:
    """A result that a stand-in device computes later, like an array of jax."""

    def __init__(self, future):
        self._future, self.is_fetched = future, False

    def copy_to_host_async(self):
        self.is_fetched = True

    def block_until_ready(self):
        assert self.is_fetched  # else it would be copied only when the loop waits for it
        self._future.result()
        return self

    def __array__(self, dtype=None, copy=None):
        return self._future.result()


class Device:
    """A stand-in for an accelerator: a queue, worked off one batch after the other."""

    def __init__(self, work=lambda batch: None):
        self._work, self._queue = work, ThreadPoolExecutor(1)
        self._lock, self.waiting, self.most = threading.Lock(), 0, 0

    def run(self, state, batch):
        with self._lock:
            self.waiting += 1
            self.most = max(self.most, self.waiting)
        return [Later(self._queue.submit(self._compute, state, batch))]

    def _compute(self, state, batch):
        self._work(batch)
        with self._lock:
            self.waiting -= 1
        return np.asarray(batch) * state


def run(device, read, store, writers=1):
    plan = WorkPlan(None, 1, device.run, in_flight=3, bytes=0)
    work_off(plan, np.float32(2), range(BLOCKS), read, store, writers)


def test_all_three_work_at_once():
    """Block 12 is read, block 10 computed and block 8 stored, each until the others have begun."""
    together, stored = threading.Barrier(3), {}

    def meet(is_due):
        if is_due:
            together.wait(timeout=60)

    def read(group):
        meet(group == 12)
        return np.full(3, group, np.float32), -group

    def store(group, rest, result):
        meet(group == 8)
        stored[group] = rest, result

    run(Device(lambda batch: meet(batch[0] == 10)), read, store)
    assert sorted(stored) == list(range(BLOCKS))
    for group, (rest, result) in stored.items():
        assert rest == -group
        np.testing.assert_array_equal(result, 2 * group)


def test_a_loop_takes_as_long_as_its_slowest_stage():
    def timed():
        device = Device(lambda batch: time.sleep(SECONDS))
        start = time.perf_counter()
        run(device, read, lambda *_: time.sleep(SECONDS))
        assert 2 <= device.most <= 3  # it has its next batch, and never more than planned
        return time.perf_counter() - start

    def read(group):
        time.sleep(READERS * SECONDS)  # by that many threads
        return np.zeros(1), None

    # One after the other they take 3 times as long; one of a few counts, as others use the cores.
    assert any(timed() < 2 * BLOCKS * SECONDS for _ in range(3))


def test_readers_do_not_run_away():
    """What is read ahead is bounded, as is what waits to be stored."""
    read, stored, most = [0], [0], [0]

    def count(group):
        read[0] += 1
        most[0] = max(most[0], read[0] - stored[0])
        return np.zeros(1), None

    def store(*_):
        time.sleep(0.004)
        stored[0] += 1

    run(Device(), count, store, writers=2)
    assert most[0] <= AHEAD + 2 + 3 + 2 + 2


@pytest.mark.parametrize("stage", ["read", "store"])
def test_what_goes_wrong_in_a_thread_ends_the_loop(stage):
    def fail(*_):
        raise OSError("no")

    def read(group):
        return (fail() if stage == "read" else np.zeros(1)), None

    with pytest.raises(OSError, match="no"):
        run(Device(), read, fail)
