"""Statistics of all images of a set: value ranges, invalid values, dead bands, duplicates."""

import dataclasses
import hashlib
from collections.abc import Mapping

import numpy as np


@dataclasses.dataclass
class Tally:
    """Statistics of the images added so far.

    Attributes:
        images: number of images.
        lowest, highest: minimum and maximum of the finite values, by key.
        faults: indices of the images with NaN or infinite values, by key.
        flat: (C,) number of images in which each band is constant, by key.
        fingerprints: number of occurrences of each image, by a hash of `gt` (`ms` without it) and
            PAN.
        overshoot: share of `lms` values outside the range of the image's `ms`, summed over images.
    """

    images: int = 0
    lowest: dict[str, float] = dataclasses.field(default_factory=dict)
    highest: dict[str, float] = dataclasses.field(default_factory=dict)
    faults: dict[str, list[int]] = dataclasses.field(default_factory=dict)
    flat: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)
    fingerprints: dict[bytes, int] = dataclasses.field(default_factory=dict)
    overshoot: float = 0.0

    def add(self, sample: Mapping[str, np.ndarray]) -> None:
        """Add one image, given as float arrays (H, W, C) in stored units."""
        index, self.images = self.images, self.images + 1
        for key, image in sample.items():
            finite = np.isfinite(image)
            if not finite.all():
                self.faults.setdefault(key, []).append(index)
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
