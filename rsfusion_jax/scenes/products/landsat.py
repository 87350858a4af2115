"""Landsat 8 and 9, Collection 2 Level 1: one GeoTIFF per band and a file of metadata (MTL)."""

import json
import re

from rsfusion_jax.errors import UserError
from rsfusion_jax.scenes.pair.source import Source, pick, stack
from rsfusion_jax.scenes.products.files import Files
from rsfusion_jax.scenes.products.product import Product
from rsfusion_jax.sensors import get_sensor, select_bands

_SENSOR = "landsat_oli"
_PAN = 8
_FILL = 0


def read(files: Files, given: str | None) -> Product | None:
    """Read a product; None where it is none of Landsat.

    The bands that PAN's response touches are fused by default: blue, green and red.

    Raises:
        UserError: a Landsat product without a PAN band, or of another satellite.
    """
    found = files.find(r".*_MTL\.(txt|json)") if given is None else [given]
    found = [name for name in found if re.search(r"_MTL\.(txt|json)$", name, re.IGNORECASE)]
    if not found:
        return None
    if len({re.sub(r"\.\w+$", "", name) for name in found}) > 1:
        raise UserError(
            f"{files.root} holds {len(found)} Landsat products; give the MTL file of one of them, "
            f"such as {found[0]}"
        )
    name = found[0]
    fields = _fields(files.text(name))
    spacecraft = fields.get("SPACECRAFT_ID", "")
    if spacecraft not in ("LANDSAT_8", "LANDSAT_9"):
        raise UserError(
            f"{name} is of {spacecraft or 'an unnamed satellite'}, expected LANDSAT_8 or "
            "LANDSAT_9; give the files themselves: rsfusion fuse B8.TIF B3.TIF B2.TIF OUT.tif"
        )
    if f"FILE_NAME_BAND_{_PAN}" not in fields:
        level = fields.get("PROCESSING_LEVEL", "of this level")
        raise UserError(
            f"{name}: a Landsat product {level} has no PAN band (B8); give the Level-1 product of "
            "the same scene"
        )
    record = get_sensor(_SENSOR)
    present = [
        number
        for number in range(1, record.num_bands + 1)
        if f"FILE_NAME_BAND_{number}" in fields and _has(files, name, fields, number)
    ]
    if not present or not _has(files, name, fields, _PAN):
        raise UserError(
            f"{files.root} lacks band files that {name} names, such as "
            f"{fields[f'FILE_NAME_BAND_{_PAN}']}; give the complete product"
        )
    bands = [_band(files, name, fields, number) for number in present]
    names = [f"B{number}" for number in present]
    camera = select_bands(record, [record.bands[number - 1] for number in present])
    ms = pick(stack(bands, "MS", names), "MS", nodata=_FILL, sensor=camera, text=f"{name} (MS)")
    pan = pick(_band(files, name, fields, _PAN), "PAN", nodata=_FILL, text=f"{name} (PAN)")
    inside = [place for place, band in enumerate(present, start=1) if _touches(record, band - 1)]
    fused = ", ".join(names[place - 1] for place in inside)
    return Product(
        f"{spacecraft.title().replace('_', ' ')} {fields.get('PROCESSING_LEVEL', '')}".strip(),
        pan,
        ms,
        bands=tuple(inside) or None,
        notices=(
            f"{fused} are fused, the bands that PAN's response touches; --bands chooses others "
            f"among {', '.join(f'{i} ({n})' for i, n in enumerate(names, start=1))}",
        ),
    )


def _touches(record, index: int) -> bool:
    """Whether a band's response and PAN's have wavelengths in common."""
    low, high = record.pan_range
    half = record.widths[index] / 2
    return record.wavelengths[index] + half > low and record.wavelengths[index] - half < high


def _fields(text: str) -> dict[str, str]:
    """The fields of an MTL file, whatever group they stand in."""
    if text.lstrip().startswith("{"):
        fields, todo = {}, [json.loads(text)]
        while todo:
            for key, value in todo.pop().items():
                if isinstance(value, dict):
                    todo.append(value)
                else:
                    fields[key] = str(value)
        return fields
    return dict(re.findall(r'^\s*(\w+)\s*=\s*"?([^"\n]*?)"?\s*$', text, re.MULTILINE))


def _has(files: Files, name: str, fields: dict[str, str], number: int) -> bool:
    return files.beside(name, fields[f"FILE_NAME_BAND_{number}"]) in files.names


def _band(files: Files, name: str, fields: dict[str, str], number: int) -> Source:
    path = files.gdal(files.beside(name, fields[f"FILE_NAME_BAND_{number}"]))
    return Source(path, path, (path,))
