"""Sentinel-2 Level 1C and 2A: a .SAFE folder or its .zip, which GDAL's driver SENTINEL2 opens."""

import re

from rsfusion_jax.errors import UserError
from rsfusion_jax.scenes.pair.source import Source, opened, pick
from rsfusion_jax.scenes.products.files import Files
from rsfusion_jax.scenes.products.product import Product
from rsfusion_jax.sensors import get_sensor, select_bands

_METADATA = r"(MTD_MSIL(1C|2A)|S2[A-Z]_(OPER|USER)_MTD_SAFL(1C|2A)_.*)\.xml"
_GUIDE = ("B2", "B3", "B4", "B8")


def read(files: Files, given: str | None) -> Product | None:
    """Read a product; None where it is none of Sentinel-2.

    The four bands of 10 m guide those of 20 m, and those of 60 m into a file of their own.

    Raises:
        UserError: several products, or tiles of several coordinate systems.
    """
    found = [name for name in files.find(_METADATA) if given in (None, name)]
    if not found:
        return None
    if len(found) > 1:
        raise UserError(
            f"{files.root} holds {len(found)} Sentinel-2 products; give one of them, such as "
            f"{found[0]}"
        )
    path = files.gdal(found[0])
    main = Source(path, found[0], (path,))
    with opened(main, "the product") as file:
        subdatasets, tags = list(file.subdatasets), file.tags()
    images = {}
    for dataset in subdatasets:
        resolution = re.search(r":(10|20|60)m:", dataset)
        if resolution is None:
            continue
        if resolution[1] in images:
            raise UserError(
                f"{found[0]} holds tiles in several coordinate systems; give the subdatasets of "
                f"one, such as {dataset}, as PAN and MS"
            )
        images[resolution[1]] = _reflectance(dataset, found[0], resolution[1], tags)
    if "10" not in images or "20" not in images:
        raise UserError(
            f"{found[0]} lacks the bands of 10 m or of 20 m, of which one guides the other; give "
            "the complete product"
        )
    others = {"60m": images["60"]} if "60" in images else {}
    more = "; those of 60 m into a file of their own" if others else ""
    return Product(
        f"Sentinel-2 {tags.get('PROCESSING_LEVEL', '')}".strip(),
        images["10"],
        images["20"],
        others=others,
        notices=(f"bands of 20 m are brought to 10 m by B2, B3, B4 and B8{more}",),
    )


def _reflectance(dataset: str, name: str, resolution: str, tags) -> Source:
    """The spectral bands of one resolution, without the maps that level 2A adds."""
    record = get_sensor("sentinel2")
    with opened(Source(dataset, dataset, (dataset,)), "the product") as file:
        names = [file.tags(index).get("BANDNAME", "") for index in file.indexes]
        bands = [index for index, name in enumerate(names, start=1) if name in record.bands]
        files = tuple(file.files)
    if resolution == "10":
        bands = [names.index(band) + 1 for band in _GUIDE if band in names]
    picked = [names[band - 1] for band in bands]
    return pick(
        Source(dataset, f"{name} ({resolution} m)", files),
        "the product",
        bands=bands,
        names=picked,
        nodata=float(tags.get("SPECIAL_VALUE_NODATA", 0)),
        sensor=select_bands(record, picked),
    )
