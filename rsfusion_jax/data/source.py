"""The interface of data sources: a description of the data set, and samples by index."""

import dataclasses
from typing import Protocol

import numpy as np

from rsfusion_jax.sensors import Sensor

Sample = dict[str, np.ndarray]
"""Arrays `pan` (H, W, G), `ms` (h, w, C), `lms` (H, W, C) and, where it exists, `gt` (H, W, C), all
float32 divided by the set's `max_value`. Samples for cloud removal may contain `mask` (H, W, 1), 1
at clouds; those cut from a scene with holes `valid` (H, W, 1), 0 where `gt` or `pan` has none."""


@dataclasses.dataclass(frozen=True)
class SetInfo:
    """Properties shared by all samples of a set; used in reports and to build networks.

    Attributes:
        name: name of the set in reports, e.g. a file name or `synthetic wv3 test`.
        sensor: sensor that acquired the images.
        num_bands: C, number of bands of `ms`, `lms` and `gt`.
        guide_bands: G, number of channels of `pan`.
        ratio: r, `pan` pixels per `ms` pixel along one axis.
        max_value: divisor that scales counts to [0, 1].
        ms_phase: position of the centre of MS pixel 0 as a PAN index (r // 2 in the common data
            sets).
        has_gt: True at reduced resolution, where samples have `gt`; False at full resolution.
        pan_degradation: how PAN was degraded to reduced resolution; None if unknown.
        pan_value: divisor of `pan`, where its units are not those of `ms`; None for `max_value`.
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
    pan_value: float | None = None


class Source(Protocol):
    """Random access to samples; implementations read or render one sample per access."""

    info: SetInfo

    def __len__(self) -> int:
        """Number of samples."""
        ...

    def __getitem__(self, index: int) -> Sample:
        """Return sample `index`, always the same one; `IndexError` beyond the end."""
        ...
