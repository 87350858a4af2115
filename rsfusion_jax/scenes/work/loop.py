"""The loop over a scene's blocks: read ahead, compute, store behind.

Reading, the device and storing never wait for each other, unless one of them is the slowest: then
the others wait for it alone. Threads read the next blocks, the device has several batches to work
on, whose results come back while it computes the next, and threads store what has come back.
"""

import collections
import concurrent.futures
import dataclasses
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence

import jax
import numpy as np

from rsfusion_jax.progress import MEGAPIXELS, ProgressBar
from rsfusion_jax.scenes.work.batch import stack_windows
from rsfusion_jax.scenes.work.journal import Store
from rsfusion_jax.scenes.work.memory import AHEAD, READERS, WRITERS, WorkPlan
from rsfusion_jax.scenes.work.program import State
from rsfusion_jax.scenes.work.tiles import TileCoder


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


@dataclasses.dataclass
class Seconds:
    """Where the time of a loop went: threads of reading and writing, and waits of the loop."""

    read: float = 0.0
    sent: float = 0.0
    waited: float = 0.0
    fetched: float = 0.0
    write: float = 0.0


def work_off(
    plan: WorkPlan,
    state: State,
    groups: Iterable,
    read: Callable,
    store: Callable,
    writers: int = WRITERS,
) -> Seconds:
    """Computes groups of blocks, the next of which are read while those before are stored.

    Args:
        plan: the compiled program.
        state: weights or coefficients, on the device.
        groups: what is to be done; the blocks of a batch each.
        read: `group -> (batch, rest)`, in a thread.
        store: `(group, rest, *results)`, in a thread; the results are NumPy arrays.
        writers: threads that store.

    Returns:
        Where the time went.
    """
    reader, writer = Ahead(READERS, AHEAD), Ahead(writers, writers)
    seconds, on_device = Seconds(), collections.deque()

    def fetch():
        group, rest, results = on_device.popleft()
        start = time.perf_counter()
        jax.block_until_ready(results)
        ready = time.perf_counter()
        arrays = [np.asarray(result) for result in results]
        seconds.waited += ready - start
        seconds.fetched += time.perf_counter() - ready
        writer.put(store, group, rest, *arrays)

    try:
        for group, (batch, rest) in reader.map(lambda group: (group, read(group)), groups):
            if len(on_device) == plan.in_flight:
                fetch()
            start = time.perf_counter()
            results = plan.run(state, jax.device_put(batch))
            for result in results:
                result.copy_to_host_async()
            seconds.sent += time.perf_counter() - start
            on_device.append((group, rest, results))
        while on_device:
            fetch()
        writer.drain()
    finally:
        reader.close()
        writer.close()
    seconds.read, seconds.write = reader.seconds, writer.seconds
    return seconds


def fuse_blocks(
    state: State,
    plan: WorkPlan,
    coder: TileCoder,
    store: Store,
    mine: Sequence[int],
    quiet: bool,
    widths_coder: TileCoder | None = None,
) -> dict[str, float]:
    """Reads, fuses and stores every block that is not there yet.

    Args:
        state: weights or coefficients of the engine.
        plan: blocks and the compiled engine.
        coder: how fused values are stored and compressed.
        store: where finished blocks go.
        mine: indices of the blocks to do.
        quiet: no progress on the screen.
        widths_coder: how the half widths of an `IntervalEngine` are stored, behind the tiles of
            their block; None with other engines.

    Returns:
        Seconds of reading and of writing in their threads, of moving arrays to the device and back,
        of waiting for the device, and of all.
    """
    windows, size = plan.windows, plan.batch_size
    # Groups are the same in a resumed run: nothing depends on where the first one ended.
    groups = [mine[start : start + size] for start in range(0, len(mine), size)]
    left = [group for group in groups if not set(group) <= set(store.lines)]
    area = [block.rows.size * block.columns.size for block in windows.blocks]
    total = sum(area[index] for index in mine)
    done = total - sum(area[index] for group in left for index in group)
    counting = threading.Lock()

    def read(group):
        inputs, valids = zip(*(windows.read(windows.blocks[i]) for i in group), strict=True)
        return stack_windows(inputs, size), valids

    def store_blocks(group, valids, fused, lms_sum, *widths):
        for place, (index, valid) in enumerate(zip(group, valids, strict=True)):
            cut, sums = windows.blocks[index].core, lms_sum[place]
            core = fused[place][cut]
            planes, clipped = coder.pixels.convert(core, valid)
            tiles = coder.encode(planes)
            if widths_coder is not None:
                planes, _ = widths_coder.pixels.convert(widths[0][place][cut], valid)
                tiles += widths_coder.encode(planes)
            counted = {
                "valid": int(valid.sum()),
                "fused": _sums(core, valid).tolist(),
                "lms": sums.astype(np.float64).sum(axis=0).tolist(),
                "clipped": clipped,
            }
            store.write(index, tiles, counted)
            with counting:
                stage.advance(area[index])

    begin = time.perf_counter()
    try:
        with ProgressBar("fusing", total, done, unit=MEGAPIXELS, quiet=quiet) as stage:
            seconds = work_off(plan, jax.device_put(state), left, read, store_blocks)
    except KeyboardInterrupt:
        share = sum(area[index] for index in store.lines) / total
        print(
            f"interrupted at {share:.0%}, nothing is written yet; --resume goes on from there, "
            "without it the scene begins anew",
            file=sys.stderr,
        )
        raise
    return {
        "read": seconds.read,
        "transfer": seconds.sent + seconds.fetched,
        "device": seconds.waited,
        "write": seconds.write,
        "fuse": time.perf_counter() - begin,
    }


def _sums(image: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """(C,) sums of the valid pixels of (H, W, C)."""
    if valid.all():
        # Row after row is much faster than pixel after pixel.
        return image.sum(axis=0, dtype=np.float64).sum(axis=0)
    return image[valid].sum(axis=0, dtype=np.float64)
