"""The registry of sensors, sensors of one's own, and which bands a file holds."""

import json

import numpy as np
import pytest

from rsfusion_jax.cli.main import COMMANDS, run
from rsfusion_jax.data.configured import config_sensor
from rsfusion_jax.data.responses import WAVELENGTHS, ms_responses
from rsfusion_jax.errors import UserError
from rsfusion_jax.sensors import get_sensor, list_sensors, match_bands, select_bands

LISTED = (
    "landsat_oli sentinel2 sentinel2_20m sentinel2_60m pleiades pleiades_neo spot wv_legion "
    "kompsat3 skysat gf1 gf7 prisma enmap"
).split()


@pytest.mark.parametrize("name", LISTED)
def test_records_are_complete(name):
    sensor = get_sensor(name)
    assert len(sensor.wavelengths) == sensor.num_bands and len(sensor.source) > 30
    assert np.all(np.diff(sorted(sensor.wavelengths)) > 0)
    if "fallback" in sensor.source and "sentinel2" not in name:
        assert {*sensor.mtf_ms} == {0.3}


def test_published_numbers():
    s2 = get_sensor("sentinel2")
    assert dict(zip(s2.bands, s2.mtf_ms, strict=True))["B8A"] == 0.32
    assert get_sensor("sentinel2_20m").mtf_ms == (0.365, 0.33, 0.34, 0.32, 0.205, 0.235)
    assert get_sensor("sentinel2_60m").mtf_ms == (0.3175, 0.295)
    assert get_sensor("prisma").mtf_pan == get_sensor("pleiades").mtf_pan == 0.2
    ratios = {name: get_sensor(name).ratio for name in ("landsat_oli", "prisma", "spot")}
    assert ratios == {"landsat_oli": 2, "prisma": 6, "spot": 4}
    assert get_sensor("kompsat3").max_value == 16383


@pytest.mark.parametrize("name", list_sensors())
def test_colours_are_those_of_the_bands(name):
    sensor = get_sensor(name)
    if sensor.wavelengths is not None and not name.startswith("sentinel2_"):
        red, green, blue = (sensor.wavelengths[index] for index in sensor.rgb)
        assert blue < 505 < green < 600 < red < 700


def test_responses_lie_at_the_centres_of_the_bands():
    sensor = get_sensor("landsat_oli")
    centres = ms_responses(sensor) @ WAVELENGTHS
    assert np.abs(centres - sensor.wavelengths).max() < 8


@pytest.mark.parametrize(
    ("sensor", "names", "wavelengths", "bands"),
    [
        ("sentinel2", ["B05", "band_8A", "B11, central wavelength 1610 nm"], [], "B5 B8A B11"),
        ("landsat_oli", ["Red", "GREEN"], [], "red green"),
        ("wv3", [None] * 4, [], "blue green red nir1"),
        ("wv3", [None] * 3, [660, 545, 478], "red green blue"),
        ("pleiades", [None] * 4, [], "blue green red nir"),
        ("ge1", ["a", "b", "c", "d"], [], "blue green red nir"),
        ("wv2", [None] * 3, [], None),
        ("landsat_oli", ["red", "red"], [], None),
    ],
)
def test_bands_of_a_file(sensor, names, wavelengths, bands):
    found = match_bands(get_sensor(sensor), len(names), names, wavelengths)
    assert (found and " ".join(found.bands)) == bands
    if found:
        assert len(found.wavelengths) == len(names)


def test_selected_bands_keep_their_wavelengths():
    picked = select_bands(get_sensor("wv2"), ["nir2", "red", "green", "blue"])
    assert picked.wavelengths == (950.0, 660.0, 545.0, 480.0) and picked.rgb == (1, 2, 3)


OWN = {"name": "mine", "bands": ["g", "r", "n"], "mtf_ms": 0.27, "bit_depth": 13, "ratio": 3}


def test_a_record_in_a_file_or_as_text(tmp_path):
    path = tmp_path / "mine.json"
    path.write_text(json.dumps(OWN))
    for sensor in (str(path), json.dumps(OWN), OWN):
        assert get_sensor(sensor) == get_sensor(OWN)
        assert get_sensor(sensor).mtf_ms == (0.27,) * 3


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("no/such.json", "does not exist"),
        ('{"bands": 3, ', "is no JSON"),
        ('{"bands": 3}', "needs mtf_ms"),
        ('{"bands": "rgb", "mtf_ms": 0.3}', "names in a list"),
        ('{"bands": 0, "mtf_ms": 0.3}', "bands=0"),
        ('{"bands": 2, "mtf_ms": ["x", "y"]}', "wrong kind"),
        ('{"bands": 2, "mtf_ms": 0.3, "wavelengths": [500]}', "one positive number in nm"),
        ("gf9", "declare your own in a file"),
        ('{"bands": 1e400, "mtf_ms": 0.3}', "bands=inf; give their names"),
        ('{"bands": 70000000, "mtf_ms": 0.3}', "or their number, up to 65535"),
        ('{"bands": [7, 8], "mtf_ms": 0.3}', r"bands=\[7, 8\]; give their names"),
        ('{"bands": 2, "mtf_ms": 0.3, "ratio": 2.5}', "ratio=2.5 must be an integer"),
        ('{"bands": ' + "[" * 100_000, "is no JSON"),
        (None, "sensor=None is no sensor; give a name"),
        (7, "sensor=7 is no sensor"),
    ],
)
def test_wrong_records_are_named(text, message):
    with pytest.raises(UserError, match=message):
        get_sensor(text)


def test_own_sensor_of_a_config(tmp_path, capsys):
    path = tmp_path / "mine.json"
    path.write_text(json.dumps(OWN))
    parser = COMMANDS["train"].make_parser("rsfusion train")
    for argv in (
        [f"--config.data.own_sensor={path}"],
        ["--config.data.own_sensor", json.dumps(OWN)],
    ):
        config = parser.parse_args([*argv, "--config.seed=3"]).config
        assert config.seed == 3 and config_sensor(config.data) == get_sensor(OWN)
    for argv, message in (
        (["--config.data.own_sensor.bands=4"], "give the whole record"),
        (["--config.data.own_sensor=no.json"], "no.json does not exist"),
    ):
        with pytest.raises(SystemExit) as stop:
            run(["train", *argv])
        assert stop.value.code == 2 and message in capsys.readouterr().err


def test_the_table_of_sensors(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "240")
    run(["sensors"])
    printed = capsys.readouterr().out
    assert all(name in printed for name in list_sensors()) and "--sensor=sensor.json" in printed
