"""Airbus: Pleiades, Pleiades Neo and SPOT in DIMAP, which GDAL's driver DIMAP opens."""

import re
import xml.etree.ElementTree as ElementTree

from rsfusion_jax.errors import UserError
from rsfusion_jax.scenes.pair.metadata import find_satellite
from rsfusion_jax.scenes.pair.source import Source, opened, pick
from rsfusion_jax.scenes.products.files import Files
from rsfusion_jax.scenes.products.product import Product
from rsfusion_jax.sensors import get_sensor, select_bands

_COLOURS = {"B0": "blue", "B1": "green", "B2": "red", "B3": "nir"}
_COLOURS |= {"DB": "deep_blue", "B": "blue", "G": "green", "R": "red", "RE": "red_edge"}
_COLOURS |= {"NIR": "nir"}
"""Names of the bands by the BAND_ID of DIMAP."""


def read(files: Files, given: str | None) -> Product | None:
    """Read a delivery with one PAN and one MS image; None where it is none in DIMAP.

    Raises:
        UserError: not one PAN and one MS image.
    """
    if given is not None and not re.search(r"(DIM|VOL)_.*\.XML$", given, re.IGNORECASE):
        return None
    found = files.find(r"DIM_.*\.XML")
    if not found:
        return None
    images = {"P": [], "MS": [], "PMS": []}
    for name in found:
        document = ElementTree.fromstring(files.text(name))
        kind = document.findtext(".//SPECTRAL_PROCESSING", "").upper()
        kind = {"PAN": "P", "XS": "MS"}.get(kind, "PMS" if kind.startswith("PMS") else kind)
        kind = "MS" if kind.startswith("MS") else kind
        images.setdefault(kind, []).append((name, document))
    if len(images["P"]) != 1 or len(images["MS"]) != 1:
        sharpened = " (PMS images are sharpened already)" if images["PMS"] else ""
        raise UserError(
            f"{files.root} holds {len(images['P'])} PAN and {len(images['MS'])} MS images in DIMAP,"
            f" expected one of each{sharpened}; give PAN and MS apart: rsfusion fuse DIM_P.XML "
            "DIM_MS.XML OUT.tif"
        )
    pan, ms = images["P"][0], images["MS"][0]
    return Product("Airbus delivery", _image(files, *pan), _image(files, *ms))


def _image(files: Files, name: str, document) -> Source:
    path = files.gdal(name)
    with opened(Source(path, name, (path,)), "the delivery") as file:
        source, satellite, count = Source(path, name, tuple(file.files)), None, file.count
        satellite = find_satellite(file)
    names = _band_names(document, count)
    record = None if satellite is None else get_sensor(satellite)
    if record is not None and names is not None and {*names} <= {*record.bands}:
        record = select_bands(record, names)
    elif record is not None and record.num_bands != count:
        record = None
    nodata = _special_value(document, "NODATA")
    return pick(source, "the delivery", names=names, nodata=nodata, sensor=record)


def _band_names(document, count: int) -> list[str] | None:
    """Colours of the bands in the order of the file, which is not that of the wavelengths."""
    listed = {}
    for entry in document.iter("Raster_Index"):
        index, band = entry.findtext("BAND_INDEX"), entry.findtext("BAND_ID")
        if index and index.isdecimal() and band in _COLOURS:
            listed[int(index)] = _COLOURS[band]
    names = [listed.get(index) for index in range(1, count + 1)]
    return names if count > 1 and None not in names else None


def _special_value(document, name: str) -> float | None:
    for entry in document.iter("Special_Value"):
        if entry.findtext("SPECIAL_VALUE_TEXT") == name:
            return float(entry.findtext("SPECIAL_VALUE_COUNT", "0"))
    return None
