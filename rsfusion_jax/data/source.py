"""What every data source promises: a description of the set and samples by index."""

import dataclasses
from typing import Protocol

import numpy as np

from rsfusion_jax.sensors import Sensor

Sample = dict[str, np.ndarray]
"""Keys `pan` (H, W, G), `ms` (h, w, C), `lms` (H, W, C) and, where it exists, `gt` (H, W, C);
float32 divided by the set's `max_value`. Cloud removal may add `mask` (H, W, 1), 1 at clouds."""


@dataclasses.dataclass(frozen=True)
class SetInfo:
    """What a set of samples has in common; reports print it, networks are built from it.

    Attributes:
        name: what a report calls the set, e.g. a file name or `synthetic wv3 test`.
        sensor: whose pixels these are.
        num_bands: C, bands of `ms`, `lms` and `gt`.
        guide_bands: G, channels of `pan`.
        ratio: r, `pan` pixels per `ms` pixel along one axis.
        max_value: the divisor that brought counts to [0, 1].
        ms_phase: PAN index of the centre of MS pixel 0 (r // 2 in the field's sets).
        has_gt: whether samples carry `gt` (reduced resolution) or not (full resolution).
        pan_degradation: how PAN was brought to reduced resolution; None where unknown.
    """

    name: str
    sensor: Sensor
    num_bands: int
    guide_bands: int
    ratio: int
    max_value: float
    ms_phase: float
    has_gt: bool
    pan_degradation: str | None = None


class Source(Protocol):
    """Random access to samples; implementations read or render one sample per call."""

    info: SetInfo

    def __len__(self) -> int:
        """Number of samples."""
        ...

    def __getitem__(self, index: int) -> Sample:
        """Sample `index`, deterministic, `IndexError` beyond the end."""
        ...
