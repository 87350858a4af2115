"""The loop over a scene's blocks: read ahead, fuse, store behind."""

import collections
import concurrent.futures
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence

import jax
import numpy as np

from rsfusion_jax.progress import MEGAPIXELS, ProgressBar
from rsfusion_jax.scenes.work.batch import stack_windows
from rsfusion_jax.scenes.work.journal import Store
from rsfusion_jax.scenes.work.memory import WRITERS, WorkPlan
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


def fuse_blocks(
    state: State,
    plan: WorkPlan,
    coder: TileCoder,
    store: Store,
    mine: Sequence[int],
    quiet: bool,
) -> dict[str, float]:
    """Reads, fuses and stores every block that is not there yet.

    Args:
        state: weights or coefficients of the engine.
        plan: blocks and the compiled engine.
        coder: how fused values are stored and compressed.
        store: where finished blocks go.
        mine: indices of the blocks to do.
        quiet: no progress on the screen.

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
    state = jax.device_put(state)
    reader, writer = Ahead(workers=2, depth=2), Ahead(workers=WRITERS, depth=WRITERS)
    sent = waited = fetched = 0.0
    counting = threading.Lock()

    def read(group):
        blocks = [windows.blocks[index] for index in group]
        inputs, valids = zip(*(windows.read(block) for block in blocks), strict=True)
        return blocks, stack_windows(inputs, size), valids

    def store_blocks(blocks, valids, fused, lms_sum, stage):
        nonlocal waited, fetched
        begin = time.perf_counter()
        jax.block_until_ready((fused, lms_sum))
        ready = time.perf_counter()
        fused, lms_sum = np.asarray(fused), np.asarray(lms_sum, np.float64)
        with counting:
            waited, fetched = waited + ready - begin, fetched + time.perf_counter() - ready
        for block, valid, image, sums in zip(blocks, valids, fused, lms_sum, strict=False):
            core = image[block.core]
            planes, clipped = coder.pixels.convert(core, valid)
            counted = {
                "valid": int(valid.sum()),
                "fused": _sums(core, valid).tolist(),
                "lms": sums.sum(axis=0).tolist(),
                "clipped": clipped,
            }
            store.write(block.index, coder.encode(planes), counted)
            with counting:
                stage.advance(area[block.index])

    begin = time.perf_counter()
    try:
        with ProgressBar("fusing", total, done, unit=MEGAPIXELS, quiet=quiet) as stage:
            for blocks, batch, valids in reader.map(read, left):
                start = time.perf_counter()
                # The device computes the blocks before while this one is transferred.
                batch = jax.block_until_ready(jax.device_put(batch))
                sent += time.perf_counter() - start
                writer.put(store_blocks, blocks, valids, *plan.run(state, batch), stage)
            writer.drain()
    except KeyboardInterrupt:
        share = sum(area[index] for index in store.lines) / total
        print(
            f"interrupted at {share:.0%}, nothing is written yet; --resume goes on from there, "
            "without it the scene begins anew",
            file=sys.stderr,
        )
        raise
    finally:
        reader.close()
        writer.close()
    return {
        "read": reader.seconds,
        "transfer": sent + fetched,
        "device": waited,
        "write": writer.seconds - waited - fetched,
        "fuse": time.perf_counter() - begin,
    }


def _sums(image: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """(C,) sums of the valid pixels of (H, W, C)."""
    if valid.all():
        # Row after row is much faster than pixel after pixel.
        return image.sum(axis=0, dtype=np.float64).sum(axis=0)
    return image[valid].sum(axis=0, dtype=np.float64)
