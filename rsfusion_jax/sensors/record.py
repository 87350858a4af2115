"""What is known of a multispectral camera."""

import dataclasses

from rsfusion_jax.errors import UserError, check_name

UNKNOWN_GAIN = 0.3
"""MTF gain assumed for an unknown sensor: the fallback of the MATLAB toolbox."""


def is_full_scale(value: float) -> bool:
    """Tell whether pixels can be divided by a number: squares of larger ones leave float32."""
    return 0 < value <= 1e18  # which NaN is not


@dataclasses.dataclass(frozen=True)
class Sensor:
    """A multispectral camera and the panchromatic camera on the same satellite.

    Attributes:
        name: lower-case short name, e.g. `wv3`.
        bands: names of the MS bands in file order.
        rgb: indices of the red, green and blue band.
        ratio: PAN pixels per MS pixel along one axis.
        bit_depth: bits per count, 1 to 16; full scale is `2**bit_depth - 1`.
        mtf_ms: amplitude gain of each MS band at the MS Nyquist frequency, in (0, 1).
        mtf_pan: amplitude gain of PAN at the PAN Nyquist frequency, in (0, 1); None where no
            source publishes one.
        source: reference for the gains, and for the full scale where it does not follow from the
            bit depth.
        full_scale: stored value that is mapped to 1, where that is not `2**bit_depth - 1`: 1 for
            data sets that are stored in [0, 1], 10000 for Sentinel-2's reflectances.
        wavelengths: centre of each MS band in nm; None where they are not stated.
        widths: width of each MS band in nm; None where they are not stated.
        pan_range: shortest and longest wavelength of PAN in nm; None where they are not stated.
    """

    name: str
    bands: tuple[str, ...]
    rgb: tuple[int, int, int]
    ratio: int
    bit_depth: int
    mtf_ms: tuple[float, ...]
    mtf_pan: float | None
    source: str
    full_scale: float | None = None
    wavelengths: tuple[float, ...] | None = None
    widths: tuple[float, ...] | None = None
    pan_range: tuple[float, float] | None = None

    def __post_init__(self):
        count = len(self.bands)
        for name in (self.name, *self.bands):  # HDF5 and GeoTIFF store them
            check_name(name)
        if len(self.mtf_ms) != count:
            raise UserError(
                f"sensor {self.name!r}: {len(self.mtf_ms)} MTF gains for {count} bands; "
                "give one gain per band in mtf_ms"
            )
        for field in ("wavelengths", "widths"):
            values = getattr(self, field)
            if values is not None and (len(values) != count or not all(v > 0 for v in values)):
                raise UserError(
                    f"sensor {self.name!r}: {field} must hold one positive number in nm for each "
                    f"of the {count} bands"
                )
        if any(not 0 < gain < 1 for gain in (*self.mtf_ms, self.mtf_pan or 0.5)):
            raise UserError(f"sensor {self.name!r}: every MTF gain must lie between 0 and 1")
        if any(not 0 <= index < count for index in self.rgb):
            raise UserError(f"sensor {self.name!r}: rgb={self.rgb} leaves bands 0..{count - 1}")
        if self.ratio < 1 or not 1 <= self.bit_depth <= 16:
            raise UserError(
                f"sensor {self.name!r}: ratio must be at least 1 and bit_depth 1 to 16, "
                f"found {self.ratio} and {self.bit_depth}"
            )
        if self.full_scale is not None and not is_full_scale(self.full_scale):
            raise UserError(
                f"sensor {self.name!r}: full_scale={self.full_scale} must be a positive number; "
                "leave it out where counts end at 2**bit_depth - 1"
            )

    @property
    def num_bands(self) -> int:
        """Number of MS bands."""
        return len(self.bands)

    @property
    def max_value(self) -> float:
        """Full scale: `full_scale` where it is set, else `2**bit_depth - 1` (2047 for 11 bit)."""
        return float(2**self.bit_depth - 1 if self.full_scale is None else self.full_scale)

    @property
    def levels(self) -> float:
        """Number of quantisation steps from 0 to full scale.

        That is the full scale itself, or `2**bit_depth - 1` where full scale is 1.
        """
        return self.max_value if self.max_value > 1 else float(2**self.bit_depth - 1)
