"""Synthetic scenes with a random camera for each scene, to train weights for any sensor."""

import dataclasses
import zlib

import numpy as np

from rsfusion_jax.data.source import Sample, SetInfo
from rsfusion_jax.data.synthetic.source import SyntheticScenes
from rsfusion_jax.errors import UserError
from rsfusion_jax.sensors import Sensor, get_sensor

SLOTS = 10
"""Number of bands of every sample, equal for all so that samples can be batched."""
_OPTICS = "wv2", "wv3", "ge1", "wv4", "qb", "ikonos", "gf2"
"""Sensors whose spectral responses the cameras of the first kind use."""
_KINDS = {"real": 0.6, "random": 0.3, "narrow": 0.1}
"""Shares of cameras with bands of a real sensor, with bands anywhere, and with an imaging
spectrometer's."""
_MS_GAINS, _SPREAD = (0.12, 0.42), 0.05
"""Range of a camera's mean MTF gain, and largest deviation of a band's gain from it."""
_PAN_GAINS = 0.08, 0.25
_ALIGNED, _SHIFT = 0.5, 2.0
"""Share of the samples in which PAN gets no extra shift, and the largest shift of the others.

The shift is in PAN pixels along each axis at full resolution, in addition to the misregistration of
`nuisances`; in the samples, whose PAN is reduced by the ratio, it is that much smaller."""
_CENTRES, _WIDTHS = (430.0, 1000.0), (15.0, 140.0)
"""Ranges in nm of the bands of the second kind."""
_INFRARED, _SHORT_WAVE = 0.3, ((1550.0, 1700.0), (2050.0, 2350.0))
"""Share of those cameras with four bands in the short-wave infrared, and where these lie."""
_PAN_BEGINS, _PAN_ENDS = (430.0, 530.0), (690.0, 900.0)


class ManyCameras:
    """Synthetic scenes with nuisances and a random camera for each scene.

    A camera has the spectral bands of a real sensor, `SLOTS` bands of any centre and width, or as
    many narrow ones; random MTF gains of MS and PAN; and in half of the scenes a misregistered PAN.
    Bands are in random order and repeated until there are `SLOTS`. For a network to which the bands
    are a set, repeated ones are nearly equivalent to the original ones.

    PAN is reduced to the ground truth's grid bicubically ("imresize"), which hardly blurs it. MS is
    made from the ground truth as in `SyntheticScenes`; the objective "any_camera" makes it anew,
    with another blur and ratio in every step.
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
            pan_degradation="imresize",
        )

    def __len__(self) -> int:
        """Number of scenes."""
        return self._num_scenes

    def __getitem__(self, index: int) -> Sample:
        """Render scene `index`; keys and shapes as in `data.source.Sample`."""
        if not 0 <= index < self._num_scenes:
            raise IndexError(f"scene {index} of {self._num_scenes}")
        rng = np.random.default_rng([self._seed, self._key, index])
        camera = draw_camera(rng, self.info.ratio)
        shift = rng.uniform(-_SHIFT, _SHIFT, 2) if rng.random() >= _ALIGNED else None
        scenes = SyntheticScenes(
            camera,
            num_scenes=self._num_scenes,
            size=self._size,
            split=self._split,
            seed=self._seed,
            nuisances=True,
            pan_shift=shift,
        )
        sample = scenes[index]
        bands = np.resize(rng.permutation(camera.num_bands), SLOTS)
        sample = {k: image if k == "pan" else image[..., bands] for k, image in sample.items()}
        return {key: np.ascontiguousarray(image) for key, image in sample.items()}


def draw_camera(rng: np.random.Generator, ratio: int) -> Sensor:
    """Draw the bands, the MTF gains and the bit depth of a camera."""
    kind = rng.choice(list(_KINDS), p=list(_KINDS.values()))
    if kind == "real":
        base = get_sensor(str(rng.choice(_OPTICS)))
    else:
        centres, widths = _draw_bands(rng, narrow=kind == "narrow")
        base = get_sensor(
            {
                "name": f"{kind} camera",
                "bands": SLOTS,
                "mtf_ms": float(np.mean(_MS_GAINS)),
                "wavelengths": centres,
                "widths": widths,
                "pan_range": [rng.uniform(*_PAN_BEGINS), rng.uniform(*_PAN_ENDS)],
                "bit_depth": int(rng.integers(10, 15)),
            }
        )
    gains = rng.uniform(*_MS_GAINS) + rng.uniform(-_SPREAD, _SPREAD, base.num_bands)
    return dataclasses.replace(
        base,
        ratio=ratio,
        mtf_ms=tuple(map(float, gains)),
        mtf_pan=float(rng.uniform(*_PAN_GAINS)),
    )


def _draw_bands(rng: np.random.Generator, narrow: bool) -> tuple[list[float], list[float]]:
    """Draw the centres and widths in nm of `SLOTS` bands."""
    if narrow:
        end = float(rng.choice((700.0, 1000.0)))
        return sorted(rng.uniform(420.0, end, SLOTS).tolist()), [rng.uniform(8.0, 15.0)] * SLOTS
    centres = rng.uniform(*_CENTRES, SLOTS)
    if rng.random() < _INFRARED:
        centres[:4] = [rng.uniform(*_SHORT_WAVE[which]) for which in rng.integers(2, size=4)]
    return centres.tolist(), rng.uniform(*_WIDTHS, SLOTS).tolist()
