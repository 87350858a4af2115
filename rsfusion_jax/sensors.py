"""Sensors as frozen records: bands, full scale and the blur of their optics.

A sensor says how its pixels were made (bands, bit depth, MTF gains at the Nyquist frequency). It
does not say what a network's weights were divided by: that scale travels with the weights.
"""

import dataclasses
from collections.abc import Mapping

from rsfusion_jax.errors import UserError

_EIGHT_BANDS = ("coastal", "blue", "green", "yellow", "red", "red_edge", "nir1", "nir2")
_FOUR_BANDS = ("blue", "green", "red", "nir")
_TOOLBOX = "gains of the MATLAB pansharpening toolbox (Vivone et al., IEEE GRSM 2021)"


@dataclasses.dataclass(frozen=True)
class Sensor:
    """One pair of instruments: a multispectral camera and its panchromatic companion.

    Attributes:
        name: lower-case short name, e.g. `wv3`.
        bands: names of the MS bands in file order.
        rgb: indices of the red, green and blue band.
        ratio: PAN pixels per MS pixel along one axis.
        bit_depth: bits of one count; full scale is `2**bit_depth - 1`.
        mtf_ms: amplitude gain of each MS band at the MS Nyquist frequency, in (0, 1).
        mtf_pan: the same for PAN; None where no source gives one.
        source: where the gains come from.
    """

    name: str
    bands: tuple[str, ...]
    rgb: tuple[int, int, int]
    ratio: int
    bit_depth: int
    mtf_ms: tuple[float, ...]
    mtf_pan: float | None
    source: str

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

    @property
    def num_bands(self) -> int:
        """Number of MS bands."""
        return len(self.bands)

    @property
    def max_value(self) -> float:
        """Full scale in counts: 2047 for 11 bit, 1023 for 10 bit."""
        return float(2**self.bit_depth - 1)


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
            "no published gains: the toolbox's fallback of 0.3 per band; papers scored GF2 with "
            "mtf='ikonos'",
        ),
    )
}


def list_sensors() -> tuple[str, ...]:
    """Names of the built-in sensors, sorted."""
    return tuple(sorted(_SENSORS))


def get_sensor(sensor: str | Mapping | Sensor) -> Sensor:
    """Returns a sensor record by name, from a mapping of its fields, or as given.

    A mapping declares a sensor of one's own in a config: `bands`, `mtf_ms` are required; `name`,
    `rgb`, `ratio`, `bit_depth`, `mtf_pan`, `source` have defaults.

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
    count = len(fields["bands"])
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


def mtf_gains(sensor: str | Mapping | Sensor, num_bands: int) -> tuple[float, ...]:
    """MS gains at Nyquist for `num_bands` bands, checked against the sensor's band count."""
    record = get_sensor(sensor)
    if record.num_bands != num_bands:
        raise UserError(
            f"sensor {record.name!r} has {record.num_bands} bands, the image has {num_bands}; "
            "name the right sensor or declare one with mtf_ms="
        )
    return record.mtf_ms
