"""What a classical method is.

A method has two halves. *Fitting* reads statistics of a whole scene and gives a small NamedTuple of
coefficients. *Applying* the coefficients is local. Images are pan (H, W, 1), ms (h, w, C) and lms
(H, W, C), `ms` on the PAN grid, of one float dtype, in counts or in [0, 1].
"""

import dataclasses
from collections.abc import Callable
from typing import Any

from rsfusion_jax.classical.image import ImageVariable

MTF_REACH = 20
"""Pixels to each side that the 41 taps of an MTF kernel see."""


@dataclasses.dataclass(frozen=True)
class Setting:
    """How a PAN and an MS image relate, known before any pixel is read.

    Attributes:
        ratio: PAN pixels per MS pixel along one axis.
        gains: MTF gain of each MS band at Nyquist; None for methods that do not filter with it.
        pan_gain: MTF gain of PAN at Nyquist; None likewise.
        wrap: periodic borders where the method itself enlarges with `interp23`.
    """

    ratio: int
    gains: tuple[float, ...] | None = None
    pan_gain: float | None = None
    wrap: bool = False


@dataclasses.dataclass(frozen=True)
class Step:
    """One step of a fit: images are measured, and coefficients follow from their statistics.

    A fit has several steps only where the images to measure depend on coefficients. Both functions
    of a later step receive, as a last argument, the coefficients of the step before.

    Attributes:
        measure: `(pan, ms, lms, setting)` -> two dictionaries of images by name, one of images on
            the PAN grid (H, W, K) and one of images on the MS grid (h, w, K). Local, so that it can
            run tile by tile.
        estimate: `(fine, coarse, setting)` -> coefficients, where `fine` and `coarse` hold a
            `Variable` for every image of the two dictionaries.
        percentiles: number of MS bands -> name of the image on the PAN grid whose
            `first_percentile` is needed, or None. It costs two more readings of a streamed scene.
        pixels: name of the image on the PAN grid of which `pixels` are needed, or None. They are
            kept in memory while a scene is streamed.
    """

    measure: Callable[..., Any]
    estimate: Callable[..., Any]
    percentiles: Callable[[int], str | None] = lambda bands: None
    pixels: str | None = None

    def readings(self, bands: int) -> int:
        """How often this step reads a streamed scene of `bands` MS bands."""
        return 1 if self.percentiles(bands) is None else 3


@dataclasses.dataclass(frozen=True)
class Method:
    """A classical method, for images in memory and for scenes that are streamed tile by tile.

    Attributes:
        apply: `(coefficients, pan, ms, lms, setting)` -> fused image (H, W, C), unclipped.
        steps: steps of the fit, in order; empty where there is nothing to fit.
        coefficients: NamedTuple that the fit returns; None where it returns one array or nothing.
        needs_sensor: whether the method filters with the MS bands' MTF.
        needs_pan_gain: whether it filters with PAN's MTF as well.
        takes_guides: whether it takes a sharp image of several bands in place of PAN.
        fit_reach: ratio -> PAN pixels around a pixel that any `measure` sees.
        apply_reach: ratio -> PAN pixels around a pixel that `apply` sees.
        align: ratio -> number of PAN pixels of which tiles must begin at multiples.
        phase: ratio -> PAN index of the centre of MS pixel 0 that the method works at.
        bytes_per_pixel: number of MS bands -> memory that a streamed fit needs for every PAN pixel
            of the scene; 0 where it needs no more than a tile.
    """

    apply: Callable[..., Any]
    steps: tuple[Step, ...] = ()
    coefficients: type | None = None
    needs_sensor: bool = False
    needs_pan_gain: bool = False
    takes_guides: bool = False
    fit_reach: Callable[[int], int] = lambda ratio: 0
    apply_reach: Callable[[int], int] = lambda ratio: 0
    align: Callable[[int], int] = lambda ratio: ratio
    phase: Callable[[int], float] = lambda ratio: ratio // 2
    bytes_per_pixel: Callable[[int], int] = lambda bands: 0

    def fit(self, pan, ms, lms, setting: Setting):
        """Coefficients from images in memory, by pure functions that `jit` and `vmap` take.

        Args:
            pan: (H, W, 1) jax array.
            ms: (h, w, C).
            lms: (H, W, C).
            setting: ratio and MTF gains.

        Returns:
            What `apply` takes; () where there is nothing to fit.

        Raises:
            UserError: too few MS pixels for the method.
        """
        earlier = ()
        for step in self.steps:
            fine, coarse = (
                {name: ImageVariable(image) for name, image in images.items()}
                for images in step.measure(pan, ms, lms, setting, *earlier)
            )
            earlier = (step.estimate(fine, coarse, setting, *earlier),)
        return earlier[0] if earlier else ()

    def readings(self, bands: int) -> int:
        """How often the whole fit reads a streamed scene of `bands` MS bands."""
        return sum(step.readings(bands) for step in self.steps)


def measure_images(pan, ms, lms, setting):
    """`lms` and `pan` themselves, for fits that need no other image."""
    return {"lms": lms, "pan": pan}, {}
