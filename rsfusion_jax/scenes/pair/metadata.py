"""What a file says of its camera: satellite, names and wavelengths of its bands."""

import re

_SATELLITES = {
    "WV02": "wv2",
    "WORLDVIEW2": "wv2",
    "WV03": "wv3",
    "WORLDVIEW3": "wv3",
    "WV04": "wv4",
    "WORLDVIEW4": "wv4",
    "LG": "wv_legion",
    "WORLDVIEWLEGION": "wv_legion",
    "QB02": "qb",
    "GE01": "ge1",
    "GEOEYE1": "ge1",
    "IK01": "ikonos",
    "IK1": "ikonos",
    "IKONOS": "ikonos",
    "GF1": "gf1",
    "GF2": "gf2",
    "GF7": "gf7",
    "PHR": "pleiades",
    "PNEO": "pleiades_neo",
    "SPOT6": "spot",
    "SPOT7": "spot",
    "KOMPSAT3": "kompsat3",
    "K3": "kompsat3",
    "LANDSAT8": "landsat_oli",
    "LANDSAT9": "landsat_oli",
    "SENTINEL2": "sentinel2",
    "SKYSAT": "skysat",
    "PRISMA": "prisma",
    "ENMAP": "enmap",
}
"""Sensors by how the satellite's name begins in capitals, without separators."""
_IMD_BANDS = {
    "BAND_C": "coastal",
    "BAND_B": "blue",
    "BAND_G": "green",
    "BAND_Y": "yellow",
    "BAND_R": "red",
    "BAND_RE": "red_edge",
    "BAND_RE1": "red_edge1",
    "BAND_RE2": "red_edge2",
    "BAND_N": "nir1",
    "BAND_N2": "nir2",
}
"""Bands by the groups of an .IMD file, in the order that the provider writes them."""


def find_satellite(file) -> str | None:
    """Name of the sensor that an open file's metadata name; None where they name none."""
    tags = file.tags() | file.tags(ns="IMD") | file.tags(ns="IMAGERY")
    # GDAL puts the group of an .IMD file before its keys.
    keys = ("SATELLITEID", "satId", "IMAGE_1.satId", "SPACECRAFT_ID", "MISSION", "PLATFORM")
    for key in keys:
        plain = re.sub(r"[^A-Z0-9]", "", tags.get(key, "").upper())
        if key == "MISSION":
            plain += re.sub(r"[^A-Z0-9]", "", tags.get("MISSION_INDEX", "").upper())
        if plain:
            fits = [name for name in _SATELLITES if plain.startswith(name)]
            return _SATELLITES[max(fits, key=len)] if fits else None
    return None


def find_band_names(file) -> list[str | None]:
    """Names of an open file's bands: its descriptions, else the bands that an .IMD file lists."""
    names = [name or _tag(file, index, ("BANDNAME", "BAND_NAME")) for index, name in _named(file)]
    if any(names):
        return names
    groups = {key.partition(".")[0] for key in file.tags(ns="IMD")}
    listed = [name for group, name in _IMD_BANDS.items() if group in groups]
    if len(listed) == file.count:
        # Those of 4 bands have "nir", as the records of such cameras do.
        return listed
    return names


def find_wavelengths(file) -> list[float | None]:
    """Centres in nm of an open file's bands; None where they are not stated."""
    return [_wavelength(file, index) for index in file.indexes]


def _named(file):
    return zip(file.indexes, file.descriptions, strict=True)


def _tag(file, index: int, keys) -> str | None:
    tags = {key.upper(): value for key, value in file.tags(index).items()}
    return next((tags[key] for key in keys if tags.get(key)), None)


def _wavelength(file, index: int) -> float | None:
    text = _tag(file, index, ("WAVELENGTH", "CENTRAL_WAVELENGTH", "CENTER_WAVELENGTH"))
    unit = _tag(file, index, ("WAVELENGTH_UNITS", "WAVELENGTH_UNIT")) or ""
    if text is None:
        text = file.tags(index, ns="IMAGERY").get("CENTRAL_WAVELENGTH_UM")
        unit = "um" if text else unit
    number = re.search(r"\d+(\.\d+)?", text or "")
    if number is None or float(number[0]) <= 0:
        return None
    value, unit = float(number[0]), unit.lower()
    # Without a unit: no optical band has its centre below 100 nm or beyond 100 micrometres.
    micro = unit.startswith(("um", "micro", "µ")) if unit else value < 100
    return value * 1000 if micro else value
