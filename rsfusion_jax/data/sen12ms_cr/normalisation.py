"""Normalisation of SEN12MS-CR's decibels and counts to [0, 1]."""

import dataclasses

import numpy as np

from rsfusion_jax.errors import UserError


@dataclasses.dataclass(frozen=True)
class Normalisation:
    """Ranges to which values are clipped before they are mapped to [0, 1].

    Attributes:
        name: name in reports.
        vv, vh: (low, high) limits of Sentinel-1's two channels in dB.
        s2_max: count of Sentinel-2 that is mapped to 1; 10000 is a reflectance of 1.
    """

    name: str
    vv: tuple[float, float]
    vh: tuple[float, float]
    s2_max: float

    def __post_init__(self):
        for channel, limits in (("vv", self.vv), ("vh", self.vh)):
            if len(limits) != 2 or not limits[0] < limits[1]:
                raise UserError(
                    f"normalisation {self.name!r}: {channel}={limits} must be two rising numbers "
                    "in dB, as (-25, 0)"
                )
        if not self.s2_max > 0:
            raise UserError(
                f"normalisation {self.name!r}: s2_max={self.s2_max} must be a positive count, as "
                "10000"
            )

    def radar(self, decibel: np.ndarray) -> np.ndarray:
        """Map VV and VH, (H, W, 2) in dB, to float32 in [0, 1]; NaN stays NaN."""
        low, high = np.transpose((self.vv, self.vh)).astype(np.float32)
        return (np.clip(decibel.astype(np.float32), low, high) - low) / (high - low)

    def optical(self, counts: np.ndarray) -> np.ndarray:
        """Map counts (H, W, C) to float32 in [0, 1]; NaN stays NaN."""
        return np.clip(counts.astype(np.float32), 0, self.s2_max) / np.float32(self.s2_max)


PRESETS = {
    preset.name: preset
    for preset in (
        # Meraner et al., DSen2-CR, ISPRS 2020; most later programs use the same limits.
        Normalisation("sen12mscr", (-25.0, 0.0), (-32.5, 0.0), 10000.0),
        # Ebel et al., UnCRtainTS, CVPRW 2023: one range for both channels.
        Normalisation("uncrtaints", (-25.0, 0.0), (-25.0, 0.0), 10000.0),
    )
}


def get_normalisation(choice: str | Normalisation) -> Normalisation:
    """Return a preset by name; a `Normalisation` is returned unchanged.

    Raises:
        UserError: no such preset.
    """
    if isinstance(choice, Normalisation):
        return choice
    if choice not in PRESETS:
        raise UserError(
            f"normalisation {choice!r} is unknown; choose one of {', '.join(PRESETS)}, or give the "
            "ranges of your own"
        )
    return PRESETS[choice]
