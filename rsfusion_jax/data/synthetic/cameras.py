"""Synthetic scenes with a random camera for each scene, to train weights for any sensor."""

import dataclasses
import zlib

import numpy as np

from rsfusion_jax.data.source import Sample, SetInfo
from rsfusion_jax.data.synthetic.source import SyntheticScenes
from rsfusion_jax.errors import UserError
from rsfusion_jax.ops.resample import interpolate_at
from rsfusion_jax.sensors import get_sensor

SLOTS = 8
"""Number of bands of every sample, equal for all so that samples can be batched."""
_OPTICS = "wv2", "wv3", "ge1", "wv4", "qb", "ikonos", "gf2"
"""Sensors whose spectral responses the cameras use."""
_COUNTS = 3, 4, 8
_MS_GAINS, _SPREAD = (0.2, 0.4), 0.03
"""Range of a camera's mean MTF gain, and largest deviation of a band's gain from it."""
_PAN_GAINS = 0.08, 0.2
_ALIGNED, _SHIFT = 0.3, 0.75
"""Share of the samples in which PAN gets no extra shift, and the largest shift of the others.

The shift is in PAN pixels along each axis, in addition to the misregistration of `nuisances`."""


class ManyCameras:
    """Synthetic scenes with nuisances and a random camera for each scene.

    A camera has 3, 4 or 8 spectral bands of a real sensor in random order, random MTF gains, a
    random `pan_degradation` and, in most scenes, misregistered PAN and MS. The bands are repeated
    until there are `SLOTS`. For a network that fuses each band on its own, with the mean over all
    bands as its only other input, this is equivalent to the original bands.
    """

    def __init__(
        self,
        *,
        num_scenes: int,
        size: int,
        split: str = "train",
        seed: int = 0,
        ratio: int | None = None,
    ):
        """Describe the set without rendering it.

        Arguments as for `SyntheticScenes`; the ratio is 4 by default.

        Raises:
            UserError: `num_scenes` is below 1.
        """
        ratio = 4 if ratio is None else ratio
        if num_scenes < 1:
            raise UserError(f"synthetic scenes: num_scenes={num_scenes} must be at least 1")
        self._num_scenes, self._size, self._split, self._seed = num_scenes, size, split, seed
        self._key = zlib.crc32(f"cameras {split}".encode())
        gain = float(np.mean(_MS_GAINS))
        sensor = get_sensor(
            {"name": "any camera", "bands": SLOTS, "mtf_ms": gain, "ratio": ratio, "bit_depth": 11}
        )
        self.info = SetInfo(
            name=f"synthetic scenes of many cameras, {split}",
            sensor=sensor,
            num_bands=SLOTS,
            guide_bands=1,
            ratio=ratio,
            max_value=sensor.max_value,
            ms_phase=ratio // 2,
            has_gt=True,
            pan_degradation="mixed",
        )

    def __len__(self) -> int:
        """Number of scenes."""
        return self._num_scenes

    def __getitem__(self, index: int) -> Sample:
        """Render scene `index`; keys and shapes as in `data.source.Sample`."""
        if not 0 <= index < self._num_scenes:
            raise IndexError(f"scene {index} of {self._num_scenes}")
        rng = np.random.default_rng([self._seed, self._key, index])
        base = get_sensor(str(rng.choice(_OPTICS)))
        gains = rng.uniform(*_MS_GAINS) + rng.uniform(-_SPREAD, _SPREAD, base.num_bands)
        camera = dataclasses.replace(
            base,
            ratio=self.info.ratio,
            mtf_ms=tuple(map(float, gains)),
            mtf_pan=float(rng.uniform(*_PAN_GAINS)),
        )
        scenes = SyntheticScenes(
            camera,
            num_scenes=self._num_scenes,
            size=self._size,
            split=self._split,
            seed=self._seed,
            nuisances=True,
            pan_degradation="mixed",
        )
        sample = scenes[index]
        count = rng.choice([count for count in _COUNTS if count <= base.num_bands])
        bands = np.resize(rng.permutation(base.num_bands)[:count], SLOTS)
        sample = {k: image if k == "pan" else image[..., bands] for k, image in sample.items()}
        if rng.random() >= _ALIGNED:
            sample["pan"] = _displaced(sample["pan"], rng.uniform(-_SHIFT, _SHIFT, 2))
        return {key: np.ascontiguousarray(image) for key, image in sample.items()}


def _displaced(image: np.ndarray, shift) -> np.ndarray:
    rows, columns = (np.arange(size) + by for size, by in zip(image.shape[:2], shift, strict=True))
    return interpolate_at(image, rows, columns)
