"""One pass over all images of a set: ranges, faults, dead bands, repetitions."""

import dataclasses
import hashlib
from collections.abc import Mapping

import numpy as np


@dataclasses.dataclass
class Tally:
    """What has been seen so far of the images of a set.

    Attributes:
        images: how many were added.
        lowest, highest: extremes of the finite values by key.
        faults: images with NaN or infinite values by key.
        flat: by key, in how many images each band is constant.
        fingerprints: how often each image (its sharpest spectral array and PAN) occurs.
        overshoot: share of `lms` beyond the range of its image's `ms`, summed over images.
    """

    images: int = 0
    lowest: dict[str, float] = dataclasses.field(default_factory=dict)
    highest: dict[str, float] = dataclasses.field(default_factory=dict)
    faults: dict[str, int] = dataclasses.field(default_factory=dict)
    flat: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)
    fingerprints: dict[bytes, int] = dataclasses.field(default_factory=dict)
    overshoot: float = 0.0

    def add(self, sample: Mapping[str, np.ndarray]) -> None:
        """Adds one image: its arrays (H, W, C) float as stored."""
        self.images += 1
        for key, image in sample.items():
            finite = np.isfinite(image)
            if not finite.all():
                self.faults[key] = self.faults.get(key, 0) + 1
            values = image[finite]
            if values.size:
                self.lowest[key] = min(self.lowest.get(key, np.inf), float(values.min()))
                self.highest[key] = max(self.highest.get(key, -np.inf), float(values.max()))
            constant = image.min(axis=(0, 1)) == image.max(axis=(0, 1))
            self.flat[key] = self.flat.get(key, 0) + constant
        spectral = sample.get("gt", sample["ms"])
        digest = hashlib.blake2b(np.ascontiguousarray(spectral), digest_size=16)
        digest.update(np.ascontiguousarray(sample["pan"]))
        name = digest.digest()
        self.fingerprints[name] = self.fingerprints.get(name, 0) + 1
        if "lms" in sample:
            low, high = sample["ms"].min(axis=(0, 1)), sample["ms"].max(axis=(0, 1))
            lms = sample["lms"]
            self.overshoot += float(np.mean((lms < low) | (lms > high)))
