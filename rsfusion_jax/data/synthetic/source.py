"""Data source of procedural scenes: samples for fusion by index."""

import dataclasses
import zlib

import numpy as np

from rsfusion_jax.data import responses
from rsfusion_jax.data.simulation.wald import simulate
from rsfusion_jax.data.source import Sample, SetInfo
from rsfusion_jax.data.synthetic import light
from rsfusion_jax.data.synthetic.clouds import Clouds
from rsfusion_jax.data.synthetic.radar import backscatter
from rsfusion_jax.data.synthetic.scene import Scene
from rsfusion_jax.data.synthetic.sensor_model import (
    PAN_GAIN,
    counts,
    draw_nuisances,
    exposure,
    no_nuisances,
    sample_ms,
    sample_pan,
)
from rsfusion_jax.errors import UserError
from rsfusion_jax.ops.resample import interp23
from rsfusion_jax.sensors import Sensor, get_sensor

_CHOICES = {
    "split": ("train", "valid", "test"),
    "guide": ("pan", "rgb", "msi4", "sar"),
    "pan_degradation": ("imresize", "mtf_centred", "mixed"),
    "resolution": ("reduced", "full"),
}
_RATIOS = (1, 2, 3, 4, 6, 8)
_GUIDE_BANDS = {"pan": 1, "rgb": 3, "msi4": 4, "sar": 2}
_HYPERSPECTRAL_GAIN = 0.30

# Size of a PAN pixel in metres. Sizes below half a metre (0.31 for WorldView-3) are increased,
# since the synthetic towns lack the finest details and their PAN power spectrum would be steeper
# than real ones.
_PAN_METRES = {
    "wv2": 0.65,
    "wv3": 0.55,
    "wv4": 0.55,
    "ge1": 0.65,
    "qb": 0.7,
    "ikonos": 0.75,
    "gf2": 0.8,
}
_GUIDE_METRES = 1.5
_OTHER_DAY = 0.03
"""Standard deviation of the log brightness of a band between two days."""


class SyntheticScenes:
    """Seeded scenes of fields, towns, woods and water, rendered on demand.

    Scene i of a split depends only on `seed`, `split` and i, not on `num_scenes`, the order of
    access or the thread. A scene is drawn at PAN resolution with four sub-pixels per pixel side.
    PAN and all bands integrate the same fine spectra with their own responses. The MS image is
    blurred by the sensor's MTF and decimated at phase `ratio // 2`.

    With `guide="pan"` and `resolution="reduced"` the MS image becomes `gt`, and Wald's protocol
    (`data.simulation.wald.simulate`) computes `pan`, `ms` and `lms` from PAN and MS. With
    `resolution="full"` a sample contains PAN and MS as recorded, and as `truth_fr` the ideal image,
    which is never known for real scenes. The guides `rgb`, `msi4` and `sar` have the grid of the
    ideal image, which is then `gt` (or `truth_fr`) itself, and `ms` is computed from it directly.

    `ratio=1` is cloud removal: `ms` and `lms` are the scene on a cloudy day, `gt` is the scene on a
    clear day, `pan` is the radar image, which clouds do not affect, and `mask` (H, W, 1) is 1 at
    clouds and shadows.

    Counts are rounded to the sensor's bit depth and divided by its full scale. `sar` is mapped from
    `radar.DB_RANGE` in dB to [0, 1].
    """

    def __init__(
        self,
        sensor="wv3",
        *,
        num_scenes: int,
        size: int,
        split: str = "train",
        seed: int = 0,
        ratio: int | None = None,
        guide: str = "pan",
        num_bands: int | None = None,
        nuisances: bool = False,
        pan_degradation: str = "imresize",
        resolution: str = "reduced",
        pan_shift=None,
    ):
        """Describe the set without rendering it.

        Args:
            sensor: name, mapping or record of the sensor, which provides spectral responses, MTF
                gains and bit depth.
            num_scenes: number of scenes.
            size: side of `gt` (of `pan` at full resolution) in pixels, a multiple of `ratio`.
            split: `train`, `valid` or `test`, which have different scenes.
            seed: seed of all scenes.
            ratio: PAN pixels per MS pixel along one axis: 1, 2, 3, 4, 6 or 8; by default that of
                the sensor.
            guide: `pan`, `rgb`, `msi4` or `sar`; must be `sar` if the ratio is 1.
            num_bands: None for the sensor's bands; another number replaces them by that many
                narrow contiguous bands (up to 100 over 400-1000 nm, up to 200 over 400-2450 nm, PAN
                over 400-700 nm).
            nuisances: whether MTF gains, misregistration, parallax, moving vehicles, noise,
                exposure and bit depth are drawn for every scene.
            pan_degradation: degradation of PAN, `imresize` or `mtf_centred`; `mixed` draws one of
                the two for every scene.
            resolution: `reduced` (with `gt`) or `full`.
            pan_shift: (2,) displacement of the guide (y, x) in its own pixels, in addition to that
                of the nuisances; None for none.

        Raises:
            UserError: an argument is outside its range or not among its choices.
        """
        base = get_sensor(sensor)
        options = {
            "split": split,
            "guide": guide,
            "pan_degradation": pan_degradation,
            "resolution": resolution,
        }
        for field, value in options.items():
            if value not in _CHOICES[field]:
                raise UserError(
                    f"synthetic scenes: {field}={value!r} is unknown; "
                    f"choose one of {', '.join(_CHOICES[field])}"
                )
        ratio = base.ratio if ratio is None else ratio
        if ratio not in _RATIOS:
            raise UserError(
                f"synthetic scenes: ratio={ratio} is not offered; "
                f"choose one of {', '.join(map(str, _RATIOS))}"
            )
        if ratio == 1 and (guide, resolution) != ("sar", "reduced"):
            raise UserError(
                f"synthetic scenes: ratio=1 is cloud removal, which needs guide='sar' and "
                f"resolution='reduced', found guide={guide!r} and resolution={resolution!r}; "
                "choose these or another ratio"
            )
        if num_scenes < 1:
            raise UserError(f"synthetic scenes: num_scenes={num_scenes} must be at least 1")
        if size < 4 * ratio or size % ratio:
            raise UserError(
                f"synthetic scenes: size={size} must be a multiple of ratio={ratio} and at least "
                f"{4 * ratio}"
            )
        if num_bands is not None and not 1 <= num_bands <= 200:
            raise UserError(f"synthetic scenes: num_bands={num_bands} must lie in 1..200")
        hyperspectral = num_bands is not None and num_bands != base.num_bands
        self._sensor = _hyperspectral(base, num_bands) if hyperspectral else base
        if hyperspectral:
            self._bands = responses.hyperspectral_responses(num_bands)
        else:
            self._bands = responses.ms_responses(base)
        self._pan = responses.guide_responses("pan", base, hyperspectral)[0]
        self._guide = responses.guide_responses(guide, base, hyperspectral)
        self._guide_name = guide
        self._metres = _PAN_METRES.get(base.name, 0.5) if guide == "pan" else _GUIDE_METRES
        self._size = size
        self._seed = seed
        self._num_scenes = num_scenes
        self._nuisances = nuisances
        self._pan_shift = np.zeros(2) if pan_shift is None else np.asarray(pan_shift, np.float64)
        wald = guide == "pan" and resolution == "reduced"
        self.info = SetInfo(
            name=f"synthetic {self._sensor.name} {split}",
            sensor=self._sensor,
            num_bands=self._sensor.num_bands,
            guide_bands=_GUIDE_BANDS[guide],
            ratio=ratio,
            max_value=self._sensor.max_value,
            ms_phase=ratio // 2,
            has_gt=resolution == "reduced",
            pan_degradation=pan_degradation if wald else None,
        )
        self._wald = wald
        self._optics = dataclasses.replace(self._sensor, mtf_pan=self._sensor.mtf_pan or PAN_GAIN)
        # Wald's protocol reduces PAN by pixel areas, so its input is a pair whose corners coincide,
        # like delivered images. Samples at full resolution directly have the phase r // 2 of the
        # common data sets.
        self._phase = (ratio - 1) / 2 if wald else ratio // 2
        self._split_key = zlib.crc32(split.encode())

    def __len__(self) -> int:
        """Number of scenes."""
        return self._num_scenes

    def __getitem__(self, index: int) -> Sample:
        """Render scene `index`; keys and shapes as in `data.source.Sample`."""
        if not 0 <= index < self._num_scenes:
            raise IndexError(f"scene {index} of {self._num_scenes}")
        key = (self._split_key, int(index))
        geometry, acquisition = np.random.SeedSequence(self._seed, spawn_key=key).spawn(2)
        rng = np.random.default_rng(acquisition)
        info = self.info
        pan_size = self._size * info.ratio if self._wald else self._size
        margin = max(
            2 * info.ratio, 4
        )  # more than the blur reaches, to avoid effects of the border
        gsd = self._metres * rng.uniform(1.0, 1.4)
        scene = Scene(geometry, pan_size + 2 * margin, gsd)
        ideal = no_nuisances(info.sensor)
        faults = draw_nuisances(rng, info.sensor) if self._nuisances else ideal
        faults = dataclasses.replace(faults, pan_shift=faults.pan_shift + self._pan_shift)
        if info.ratio == 1:
            return self._record_days(scene, faults, ideal, rng, margin)
        ms, truth, factor = self._record_bands(scene, faults, ideal, rng, margin, pan_size)
        guide = self._record_guide(scene, faults, factor, rng, margin, pan_size)
        if self._wald:
            degradation = info.pan_degradation
            if degradation == "mixed":
                degradation = str(rng.choice(("imresize", "mtf_centred")))
            return simulate(
                guide,
                ms,
                sensor=info.sensor,
                mtf=self._optics,
                ratio=info.ratio,
                pan_degradation=degradation,
            )
        lms = interp23(ms, info.ratio)
        return {
            "pan": guide,
            "ms": ms,
            "lms": lms,
            "gt" if info.has_gt else "truth_fr": truth,
        }

    def _record_bands(self, scene, faults, ideal, rng, margin, pan_size):
        """Return the recorded MS (h, w, C), the ideal image (H, W, C) or None, and the exposure."""
        info = self.info
        ms_size = pan_size // info.ratio
        light_ms = np.empty((ms_size, ms_size, info.num_bands), np.float32)
        shape = (pan_size, pan_size, info.num_bands)
        truth = None if self._wald else np.empty(shape, np.float32)
        scales = light.saturation_reflectance(self._bands, self._sensor)
        for band, plane in enumerate(scene.planes(self._bands, self._pan)):
            plane *= faults.ms_calibration[band] / scales[band]
            light_ms[..., band] = sample_ms(
                plane, info.sensor, band, info.ratio, margin + self._phase, ms_size, faults
            )
            if truth is not None:
                truth[..., band] = sample_pan(plane, info.sensor, margin, pan_size, ideal)
        factor = exposure(light_ms.max(axis=-1), faults)
        ms = np.empty_like(light_ms)
        for band in range(info.num_bands):
            ms[..., band] = counts(factor * light_ms[..., band], info.sensor.levels, faults, rng)
        if truth is not None:
            truth = counts(factor * truth, info.sensor.levels, ideal, rng)
        return ms, truth, factor

    def _record_days(self, scene, faults, ideal, rng, margin) -> Sample:
        """Return a sample for cloud removal: a clear day, a cloudy day and the radar image."""
        info, size = self.info, self._size
        clouds = Clouds(rng, size + 2 * margin, scene.light)
        scales = light.saturation_reflectance(self._bands, self._sensor)
        spread = _OTHER_DAY if self._nuisances else 0.0
        other_day = np.exp(spread * rng.standard_normal(info.num_bands))
        clear, cloudy = (np.empty((size, size, info.num_bands), np.float32) for _ in range(2))
        for band, plane in enumerate(scene.planes(self._bands, self._pan)):
            covered = other_day[band] * clouds.over(plane, self._bands[band])
            for image, light_in, optics in ((clear, plane, ideal), (cloudy, covered, faults)):
                sampled = sample_pan(light_in / scales[band], info.sensor, margin, size, optics)
                image[..., band] = counts(sampled, info.sensor.levels, optics, rng)
        inner = slice(margin, margin + size)
        return {
            "pan": backscatter(scene, rng, margin, size),
            "ms": cloudy,
            "lms": cloudy.copy(),
            "gt": clear,
            "mask": np.ascontiguousarray(clouds.mask()[inner, inner, None]),
        }

    def _record_guide(self, scene, faults, factor, rng, margin, pan_size):
        """Return the recorded guide, (H, W, G)."""
        if self._guide_name == "sar":
            return backscatter(scene, rng, margin, pan_size)
        info = self.info
        scales = light.saturation_reflectance(self._guide, self._sensor) / faults.pan_calibration
        planes = scene.planes(self._guide, self._pan, guide=True, moved=faults.moving)
        channels = []
        for plane, scale in zip(planes, scales, strict=True):
            if faults.parallax.any():
                plane = scene.lean(plane, faults.parallax)
            sampled = sample_pan(plane, info.sensor, margin, pan_size, faults)
            channels.append(counts(factor / scale * sampled, info.sensor.levels, faults, rng))
        return np.stack(channels, axis=-1)


def _hyperspectral(base: Sensor, num_bands: int) -> Sensor:
    """Return a camera of `num_bands` narrow bands with ratio and bit depth of `base`."""
    centres = responses.hyperspectral_limits(num_bands).mean(axis=1)
    rgb = tuple(int(np.abs(centres - colour).argmin()) for colour in (660, 550, 470))
    return Sensor(
        name=f"hyperspectral{num_bands}",
        bands=tuple(f"{centre:.0f}nm" for centre in centres),
        rgb=rgb,
        ratio=base.ratio,
        bit_depth=base.bit_depth,
        mtf_ms=(_HYPERSPECTRAL_GAIN,) * num_bands,
        mtf_pan=None,
        source="no instrument: one gain for all of the generator's narrow bands",
        full_scale=base.full_scale,
    )
