"""What is kept of a scene's pixels besides their moments, for methods that need more."""

import numpy as np

from rsfusion_jax.classical.modulation import haze_ranks
from rsfusion_jax.classical.moments import Moments, share

_BINS = 65536


class Histogram:
    """Counts of (N, K) features in equal bins between their extrema of an earlier pass."""

    def __init__(self, size: int, so_far: Moments):
        self._low, self._high = so_far.low[:size], so_far.high[:size]
        self._counts = np.zeros((size, _BINS), np.int64)

    def add(self, features: np.ndarray) -> None:
        """Takes (N, K) pixels."""
        for counts, place in zip(self._counts, self.places(features).T, strict=True):
            counts += np.bincount(place, minlength=_BINS)

    def places(self, features: np.ndarray) -> np.ndarray:
        """(N, K) bins of the features."""
        places = share(features - self._low, self._high - self._low) * _BINS
        return np.clip(places.astype(np.int64), 0, _BINS - 1)

    def ranks(self) -> list[tuple[int, int, int]]:
        """Per feature: the bins of the two values between which the percentile of haze lies, and
        how many values lie below the first bin."""
        below, above, _ = haze_ranks(self.count)
        sums = np.cumsum(self._counts, axis=1)
        result = []
        for total in sums:
            first, last = (int(np.searchsorted(total, rank + 1)) for rank in (below, above))
            result.append((first, last, int(total[first - 1]) if first else 0))
        return result

    @property
    def count(self) -> int:
        """Pixels taken."""
        return int(self._counts[0].sum())


class Percentile:
    """The Hazen percentile of (N, K) features, from the values in the bins that hold it."""

    def __init__(self, size: int, so_far: tuple[Moments, Histogram]):
        self._histogram = so_far[1]
        self._ranks = self._histogram.ranks()
        self._kept = [[] for _ in range(size)]

    def add(self, features: np.ndarray) -> None:
        """Takes (N, K) pixels."""
        places = self._histogram.places(features)
        for index, (first, last, _) in enumerate(self._ranks):
            inside = (places[:, index] >= first) & (places[:, index] <= last)
            self._kept[index].append(features[inside, index])

    def result(self) -> np.ndarray:
        """(K,) percentiles."""
        below, above, fraction = haze_ranks(self._histogram.count)
        result = []
        for kept, (_, _, start) in zip(self._kept, self._ranks, strict=True):
            values = np.sort(np.concatenate(kept)).astype(np.float64)
            result.append((1 - fraction) * values[below - start] + fraction * values[above - start])
        return np.asarray(result)


class Pixels:
    """Keeps (N, K) features as they are, for methods that need all of them at once."""

    def __init__(self, size: int, so_far=None):
        self._parts = []

    def add(self, features: np.ndarray) -> None:
        """Takes (N, K) pixels."""
        self._parts.append(np.asarray(features, np.float32))

    def joined(self) -> np.ndarray:
        """(N, K) float32."""
        return np.concatenate(self._parts)
