"""Sensor records: bands, bit depth, full scale and MTF gains at the Nyquist frequency.

A sensor describes how its pixels were acquired. The scale by which a network's training images were
divided is not part of it: that scale is stored with the network's weights.
"""

import dataclasses
from collections.abc import Mapping, Sequence

from rsfusion_jax.errors import UserError

_EIGHT_BANDS = ("coastal", "blue", "green", "yellow", "red", "red_edge", "nir1", "nir2")
_FOUR_BANDS = ("blue", "green", "red", "nir")
_TOOLBOX = "gains of the MATLAB pansharpening toolbox (Vivone et al., IEEE GRSM 2021)"
UNKNOWN_GAIN = 0.3
"""MTF gain assumed for an unknown sensor: the fallback of the MATLAB toolbox."""


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

    def __post_init__(self):
        count = len(self.bands)
        if len(self.mtf_ms) != count:
            raise UserError(
                f"sensor {self.name!r}: {len(self.mtf_ms)} MTF gains for {count} bands; "
                "give one gain per band in mtf_ms"
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
        if self.full_scale is not None and not 0 < self.full_scale < float("inf"):
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


_FALLBACK = 0.3
_NO_GAINS = "no published gains: the toolbox's fallback of 0.3 per band"


def _spectrometer(
    name: str, first: float, step: float, count: int, unit: bool, source: str
) -> Sensor:
    """Return a camera of `count` narrow bands centred at `first + step * i` nm.

    With `unit`, its data sets are stored in [0, 1].
    """
    centres = [first + step * index for index in range(count)]
    rgb = tuple(
        min(range(count), key=lambda i: abs(centres[i] - colour)) for colour in (650, 550, 450)
    )
    return Sensor(
        name=name,
        bands=tuple(f"{centre:.0f}nm" for centre in centres),
        rgb=rgb,
        ratio=4,
        bit_depth=16,
        mtf_ms=(_FALLBACK,) * count,
        mtf_pan=None,
        source=f"{source}; {_NO_GAINS}",
        full_scale=1.0 if unit else None,
    )


_SENSORS = {
    sensor.name: sensor
    for sensor in (
        Sensor("wv2", _EIGHT_BANDS, (4, 2, 1), 4, 11, (0.35,) * 7 + (0.27,), 0.11, _TOOLBOX),
        Sensor(
            "wv3",
            _EIGHT_BANDS,
            (4, 2, 1),
            4,
            11,
            (0.325, 0.355, 0.36, 0.35, 0.365, 0.36, 0.335, 0.315),
            0.14,
            _TOOLBOX,
        ),
        Sensor("wv4", _FOUR_BANDS, (2, 1, 0), 4, 11, (0.23,) * 4, 0.16, _TOOLBOX),
        Sensor("qb", _FOUR_BANDS, (2, 1, 0), 4, 11, (0.34, 0.32, 0.30, 0.22), 0.15, _TOOLBOX),
        Sensor("ikonos", _FOUR_BANDS, (2, 1, 0), 4, 11, (0.26, 0.28, 0.29, 0.28), 0.17, _TOOLBOX),
        Sensor("ge1", _FOUR_BANDS, (2, 1, 0), 4, 11, (0.23,) * 4, 0.16, _TOOLBOX),
        Sensor(
            "gf2",
            _FOUR_BANDS,
            (2, 1, 0),
            4,
            10,
            (0.30,) * 4,
            None,
            f"{_NO_GAINS}; papers scored GF2 with mtf='ikonos'",
        ),
        # Cameras of hyperspectral and cloud-removal data sets, under the names of the data sets.
        _spectrometer(
            "cave",
            400,
            10,
            31,
            True,
            "400-700 nm in steps of 10 (Yasuma et al., IEEE TIP 2010), 16 bit; the HISR files "
            "hold [0, 1]",
        ),
        _spectrometer(
            "harvard",
            420,
            10,
            31,
            True,
            "420-720 nm in steps of 10 (Chakrabarti and Zickler, CVPR 2011); the HISR files hold "
            "[0, 1]",
        ),
        _spectrometer(
            "pavia",
            430 + 430 / 204,
            430 / 102,
            102,
            True,
            "Pavia Center, ROSIS, 430-860 nm in 102 bands; HyperPanCollection's own loader divides "
            "by nothing (Zhuo et al., JSTARS 2022)",
        ),
        _spectrometer(
            "chikusei",
            363 + 655 / 256,
            655 / 128,
            128,
            True,
            "Hyperspec-VNIR-C, 363-1018 nm in 128 bands (Yokoya and Iwasaki, 2016); no full scale "
            "is published, sets in [0, 1] are expected",
        ),
        Sensor(
            "sen12ms_cr",
            ("B1", "B2", "B3", "B4", "B5", "B6", "B7", "B8", "B8A", "B9", "B10", "B11", "B12"),
            (3, 2, 1),
            1,
            12,
            (_FALLBACK,) * 13,
            None,
            f"Sentinel-2 level 1C with Sentinel-1 VV and VH, all at 10 m (Ebel et al., IEEE TGRS "
            f"2021); reflectance x 10000; {_NO_GAINS}",
            10000.0,
        ),
    )
}


def list_sensors() -> tuple[str, ...]:
    """Return the names of the built-in sensors, sorted."""
    return tuple(sorted(_SENSORS))


def get_sensor(sensor: str | Mapping | Sensor) -> Sensor:
    """Return a sensor record by name or from a mapping of its fields.

    Args:
        sensor: name of a built-in sensor; a mapping that declares a custom sensor, in which `bands`
            (band names, or their number) and `mtf_ms` (one gain per band, or one for all) are
            required and `name`, `rgb`, `ratio`, `bit_depth`, `mtf_pan`, `source` and `full_scale`
            have defaults; or a `Sensor`, which is returned unchanged.

    Raises:
        UserError: unknown name, missing or misspelt fields, or fields that contradict each other.
    """
    if isinstance(sensor, Sensor):
        return sensor
    if isinstance(sensor, str):
        try:
            return _SENSORS[sensor.lower()]
        except KeyError:
            raise UserError(
                f"sensor {sensor!r} is unknown; choose one of {', '.join(list_sensors())} or "
                "declare one with bands= and mtf_ms="
            ) from None
    fields = dict(sensor)
    known = {field.name for field in dataclasses.fields(Sensor)}
    unknown = sorted(set(fields) - known)
    if unknown:
        raise UserError(
            f"sensor field {unknown[0]!r} is unknown; the fields are {', '.join(sorted(known))}"
        )
    missing = [name for name in ("bands", "mtf_ms") if name not in fields]
    if missing:
        raise UserError(f"a declared sensor needs {' and '.join(missing)}")
    if isinstance(fields["bands"], int):
        fields["bands"] = tuple(f"b{index + 1}" for index in range(fields["bands"]))
    count = len(fields["bands"])
    if isinstance(fields["mtf_ms"], float):
        fields["mtf_ms"] = (fields["mtf_ms"],) * count
    defaults = {
        "name": "custom",
        "rgb": (2, 1, 0) if count >= 3 else (0, 0, 0),
        "ratio": 4,
        "bit_depth": 11,
        "mtf_pan": 0.15,
        "source": "declared by the user",
    }
    fields = {**defaults, **fields}
    for name in ("bands", "rgb", "mtf_ms"):
        fields[name] = tuple(fields[name])
    return Sensor(**fields)


def unnamed_sensor(num_bands: int) -> Sensor:
    """Return the record of an unknown sensor: `num_bands` bands with `UNKNOWN_GAIN` each."""
    gains = [UNKNOWN_GAIN] * num_bands
    return get_sensor({"name": "unknown", "bands": num_bands, "mtf_ms": gains})


def select_bands(sensor: Sensor, names: Sequence[str]) -> Sensor:
    """Return the record of a sensor reduced to some of its bands.

    Args:
        sensor: record to select from.
        names: names of the bands, in the order that the new record has.

    Raises:
        UserError: no band, a band that the sensor does not have, or one named twice.
    """
    names = tuple(names)
    unknown = [name for name in names if name not in sensor.bands]
    if unknown or len(set(names)) < len(names) or not names:
        wrong = unknown[0] if unknown else ", ".join(names)
        raise UserError(
            f"bands: {wrong!r} is no selection of the bands of {sensor.name!r}; choose from "
            f"{', '.join(sensor.bands)}, each at most once"
        )
    colours = [sensor.bands[index] for index in sensor.rgb]
    fallback = (2, 1, 0) if len(names) >= 3 else (0, 0, 0)
    return dataclasses.replace(
        sensor,
        bands=names,
        rgb=tuple(map(names.index, colours)) if set(colours) <= set(names) else fallback,
        mtf_ms=tuple(sensor.mtf_ms[sensor.bands.index(name)] for name in names),
    )


def mtf_gains(sensor: str | Mapping | Sensor, num_bands: int) -> tuple[float, ...]:
    """Return the MTF gains of a sensor's MS bands for an image of `num_bands` bands.

    Args:
        sensor: name, mapping or record, as for `get_sensor`.
        num_bands: number of bands of the image.

    Returns:
        Amplitude gain of each band at the MS Nyquist frequency.

    Raises:
        UserError: the sensor has another number of bands.
    """
    record = get_sensor(sensor)
    if record.num_bands != num_bands:
        raise UserError(
            f"sensor {record.name!r} has {record.num_bands} bands, the image has {num_bands}; "
            "name the right sensor or declare one with mtf_ms="
        )
    return record.mtf_ms
