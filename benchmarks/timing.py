"""Seconds of calls, and ratios of contenders that take turns.

Contenders take turns, so that a machine that slows down slows all of them; a ratio is taken within
each turn, and the median is reported with the least and the most.
"""

import statistics
import time
from collections.abc import Callable, Iterable


def seconds(call: Callable[[], object], calls: int) -> list[float]:
    """Time calls by the clock, after one that is not counted because it compiles."""
    import jax  # only here: processes that run PyTorch alone import this module too

    jax.block_until_ready(call())
    spent = []
    for _ in range(calls):
        start = time.perf_counter()
        jax.block_until_ready(call())
        spent.append(time.perf_counter() - start)
    return spent


def spread(values: Iterable[float]) -> dict[str, float]:
    """Return the median, the least and the most."""
    values = sorted(values)
    return {"median": statistics.median(values), "least": values[0], "most": values[-1]}


def ratio(theirs: list[float], ours: list[float]) -> dict[str, float]:
    """Return how many times as long they take, turn by turn: above 1 ours is faster."""
    return spread(a / b for a, b in zip(theirs, ours, strict=True))
