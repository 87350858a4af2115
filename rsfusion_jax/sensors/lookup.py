"""Sensor records by name, from a mapping of their fields or from a JSON file."""

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path

from rsfusion_jax.errors import UserError, not_a_file
from rsfusion_jax.plugins import Registry
from rsfusion_jax.sensors.record import UNKNOWN_GAIN, Sensor
from rsfusion_jax.sensors.satellites import SATELLITES
from rsfusion_jax.sensors.spectrometers import SPECTROMETERS

_SENSORS = {sensor.name: sensor for sensor in (*SATELLITES, *SPECTROMETERS)}
_LISTS = "bands", "rgb", "mtf_ms", "wavelengths", "widths", "pan_range"
_MOST_BANDS = 65535  # of a GeoTIFF


def _accept(name: str, given: object) -> Sensor:
    if not isinstance(given, Sensor | Mapping):
        raise UserError(
            f"sensor {name!r} must be a rsfusion_jax.sensors.Sensor or a mapping of its fields, "
            f"found {given!r}"
        )
    record = given if isinstance(given, Sensor) else get_sensor({"name": name, **given})
    if record.name != name or name != name.lower():
        raise UserError(
            f"sensor {name!r} must have its name, in lower case, in its record; found "
            f"{record.name!r}"
        )
    return record


own_sensors = Registry("rsfusion_jax.sensors", "sensor", lambda: _SENSORS, _accept)
"""Sensors that users added."""


def list_sensors() -> tuple[str, ...]:
    """Return the names of the sensors, those that users added among them, sorted."""
    return tuple(sorted(_SENSORS.keys() | own_sensors.names()))


def register_sensor(name: str, sensor: Mapping | Sensor) -> None:
    """Add a sensor of the user's own, for this process.

    A package that declares it as an entry point of the group `rsfusion_jax.sensors` needs no such
    call, and its sensor is known to the commands too.

    Args:
        name: its name, in lower case.
        sensor: the record, or a mapping of its fields, as for `get_sensor`.

    Raises:
        UserError: the name is taken, or the fields are wrong.
    """
    own_sensors.add(name, sensor)


def get_sensor(sensor: str | Mapping | Sensor) -> Sensor:
    """Return a sensor record by name or from a mapping of its fields.

    Args:
        sensor: one of `list_sensors()`; a mapping that declares a custom sensor, in which `bands`
            (band names, or their number) and `mtf_ms` (one gain per band, or one for all) are
            required and the other fields of `Sensor` have defaults; path of a .json file with such
            a mapping, or its text; or a `Sensor`, which is returned unchanged.

    Raises:
        UserError: unknown name, an unreadable file, missing or misspelt fields, or fields that
            contradict each other.
    """
    if isinstance(sensor, Sensor):
        return sensor
    sensor = str(sensor) if isinstance(sensor, Path) else sensor
    if isinstance(sensor, str) and _is_record(sensor):
        sensor = read_record(sensor)
    if isinstance(sensor, str):
        name = sensor.lower()
        record = _SENSORS[name] if name in _SENSORS else own_sensors.find(name)
        if record is None:
            raise UserError(
                f"sensor {sensor!r} is unknown; choose one of {', '.join(list_sensors())} or "
                "declare your own in a file, --sensor=sensor.json or its text, such as "
                '{"bands": 4, "mtf_ms": 0.3, "bit_depth": 12}'
            )
        return record
    if not isinstance(sensor, Mapping):
        raise UserError(
            f"sensor={sensor!r:.100} is no sensor; give a name such as 'wv3', or the fields of "
            "one, such as {'bands': 4, 'mtf_ms': 0.3}"
        )
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
    if not _are_bands(fields["bands"]):
        raise UserError(
            f"a declared sensor has bands={fields['bands']!r:.100}; give their names in a list, or "
            f"their number, up to {_MOST_BANDS}"
        )
    if isinstance(fields["bands"], int):
        fields["bands"] = tuple(f"b{index + 1}" for index in range(fields["bands"]))
    count = len(fields["bands"])
    if isinstance(fields["mtf_ms"], int | float):
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
    for name in _LISTS:
        if fields.get(name) is not None:
            fields[name] = tuple(fields[name])
    for name in ("ratio", "bit_depth"):
        if not isinstance(fields[name], int):
            raise UserError(
                f"sensor {fields['name']!r}: {name}={fields[name]!r} must be an integer"
            )
    try:
        return Sensor(**fields)
    except (TypeError, ValueError) as error:
        raise UserError(
            f"sensor {fields['name']!r}: a field has a value of a wrong kind ({error}); see "
            "docs/deliveries.md for an example"
        ) from error


def _are_bands(bands) -> bool:
    """Whether these are names of bands, or their number."""
    if isinstance(bands, int):
        return not isinstance(bands, bool) and 1 <= bands <= _MOST_BANDS
    if not isinstance(bands, list | tuple):
        return False
    return 1 <= len(bands) <= _MOST_BANDS and all(isinstance(name, str) for name in bands)


def _is_record(text: str) -> bool:
    """Whether a text is the path of a record or the record itself."""
    return text.lstrip().startswith("{") or Path(text).suffix.lower() == ".json"


def read_record(text: str) -> dict:
    """Read the fields of a sensor from a .json file or from JSON text.

    Args:
        text: path of the file, or the text itself, which begins with a brace.

    Raises:
        UserError: no such file, no JSON, or JSON that is no mapping.
    """
    where = "the text of --sensor" if text.lstrip().startswith("{") else text
    try:
        record = json.loads(text if where != text else Path(text).read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(
            f"sensor: {not_a_file(text)}; give a .json file such as "
            '{"bands": ["blue", "green"], "mtf_ms": 0.3, "bit_depth": 12}'
        ) from error
    except (ValueError, RecursionError) as error:
        raise UserError(f"sensor: {where} is no JSON ({error}); correct it there") from error
    if not isinstance(record, dict):
        raise UserError(
            f"sensor: {where} holds a {type(record).__name__}, expected the fields of one sensor, "
            'such as {"bands": 4, "mtf_ms": 0.3}'
        )
    return record


def unnamed_sensor(num_bands: int) -> Sensor:
    """Return the record of an unknown sensor: `num_bands` bands with `UNKNOWN_GAIN` each."""
    gains = [UNKNOWN_GAIN] * num_bands
    return get_sensor({"name": "unknown", "bands": num_bands, "mtf_ms": gains})


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
