"""Reads a scene tile by tile for the statistics that a step of a fit needs."""

import dataclasses
from collections.abc import Callable, Iterator, Mapping

import numpy as np

from rsfusion_jax.classical.method import Step
from rsfusion_jax.classical.moments import Moments, SummedVariable
from rsfusion_jax.classical.variable import percentile_ranks

_BINS = 65536

Tile = Mapping[str, np.ndarray]
"""Valid pixels (N, K) of a tile, by the name of the image."""


def gather(
    step: Step, bands: int, read: Callable[[str | None], Iterator[tuple[Tile, Tile]]]
) -> tuple[dict[str, SummedVariable], dict[str, SummedVariable]]:
    """Statistics of everything that a step measures.

    Args:
        step: step of a method's fit.
        bands: number of MS bands.
        read: runs `step.measure` over the scene and yields, tile by tile, the valid pixels (N, K)
            of the images on the PAN grid and on the MS grid. Its argument names the only image on
            the PAN grid that is needed; None asks for all images.

    Returns:
        The variables on the PAN grid and on the MS grid, as `step.estimate` takes them.
    """
    fine, coarse, pixels = Moments(), Moments(), []
    for on_pan, on_ms in read(None):
        fine.add(on_pan)
        coarse.add(on_ms)
        if step.pixels is not None:
            pixels.append(np.asarray(on_pan[step.pixels], np.float32))
    variables = fine.variables()
    if step.pixels is not None:
        variables[step.pixels] = dataclasses.replace(
            variables[step.pixels], pixels=np.concatenate(pixels)
        )
    name = step.percentiles(bands)
    if name is not None:
        variable = variables[name]
        histogram = Histogram(variable.minimum, variable.maximum)
        for on_pan, _ in read(name):
            histogram.add(on_pan[name])
        percentile = Percentile(histogram)
        for on_pan, _ in read(name):
            percentile.add(on_pan[name])
        variables[name] = dataclasses.replace(variable, first_percentile=percentile.result())
    return variables, coarse.variables()


class Histogram:
    """Counts of K features in equal bins between their extrema.

    Args:
        low, high: (K,) extrema.
    """

    def __init__(self, low: np.ndarray, high: np.ndarray):
        self._low = low
        self._scale = _BINS / np.where(high > low, high - low, np.inf)
        self._counts = np.zeros((len(low), _BINS), np.int64)

    def add(self, features: np.ndarray) -> None:
        """Counts (N, K) pixels."""
        for counts, bins in zip(self._counts, self.bins(features).T, strict=True):
            counts += np.bincount(bins, minlength=_BINS)

    def bins(self, features: np.ndarray) -> np.ndarray:
        """(N, K) bins of the features."""
        bins = (features - self._low) * self._scale
        return np.clip(bins.astype(np.int64), 0, _BINS - 1)

    def ranks(self) -> list[tuple[int, int, int]]:
        """Per feature: the bins of the two values between which the 1st percentile lies, and how
        many values lie below the first of them."""
        below, above, _ = percentile_ranks(self.count)
        result = []
        for sums in np.cumsum(self._counts, axis=1):
            first, last = (int(np.searchsorted(sums, rank + 1)) for rank in (below, above))
            result.append((first, last, int(sums[first - 1]) if first else 0))
        return result

    @property
    def count(self) -> int:
        """Number of pixels."""
        return int(self._counts[0].sum())


class Percentile:
    """The 1st percentile of K features, from the values in the bins that hold it.

    Args:
        histogram: histogram of the same pixels.
    """

    def __init__(self, histogram: Histogram):
        self._histogram = histogram
        self._ranks = histogram.ranks()
        self._values = [[] for _ in self._ranks]

    def add(self, features: np.ndarray) -> None:
        """Takes (N, K) pixels and keeps those in the bins."""
        bins = self._histogram.bins(features)
        for index, (first, last, _) in enumerate(self._ranks):
            inside = (bins[:, index] >= first) & (bins[:, index] <= last)
            self._values[index].append(features[inside, index])

    def result(self) -> np.ndarray:
        """(K,) percentiles."""
        below, above, fraction = percentile_ranks(self._histogram.count)
        result = []
        for parts, (_, _, start) in zip(self._values, self._ranks, strict=True):
            values = np.sort(np.concatenate(parts)).astype(np.float64)
            result.append((1 - fraction) * values[below - start] + fraction * values[above - start])
        return np.asarray(result)
