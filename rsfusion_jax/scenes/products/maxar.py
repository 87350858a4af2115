"""Maxar: PAN and MS as tiles with a .TIL, or as images with an .IMD, which GDAL reads."""

import re

from rsfusion_jax.errors import UserError
from rsfusion_jax.scenes.pair.source import Source, opened
from rsfusion_jax.scenes.products.files import Files
from rsfusion_jax.scenes.products.product import Product


def read(files: Files, given: str | None) -> Product | None:
    """Read a delivery with one PAN and one MS image; None where it is none of Maxar.

    Raises:
        UserError: not one PAN and one MS image.
    """
    metadata = files.find(r".*\.IMD")
    if not metadata or (given is not None and not re.search(r"\.(TIL|IMD)$", given, re.I)):
        return None
    images = {}
    for name in metadata:
        stem = name[: -len(".IMD")]
        beside = {other.rpartition(".")[2].upper(): other for other in files.names
                  if other.rpartition(".")[0] == stem}  # fmt: skip
        image = next((beside[end] for end in ("TIL", "TIF", "TIFF", "NTF") if end in beside), None)
        if image is None:
            continue
        band_id = re.search(r'^\s*bandId\s*=\s*"?(\w+)', files.text(name), re.MULTILINE)
        kind = "PAN" if band_id and band_id[1].upper() in ("P", "PAN") else "MS"
        images.setdefault(kind, []).append(_source(files.gdal(image), image))
    if given is not None and len(images.get("MS", ())) + len(images.get("PAN", ())) < 2:
        raise UserError(
            f"{given} is one image of a delivery; give the folder above, or PAN and MS apart: "
            "rsfusion fuse PAN.TIL MS.TIL OUT.tif"
        )
    if [len(images.get(kind, ())) for kind in ("PAN", "MS")] != [1, 1]:
        counts = ", ".join(f"{len(images.get(kind, ()))} {kind}" for kind in ("PAN", "MS"))
        raise UserError(
            f"{files.root} holds {counts} images of Maxar, expected one of each; give PAN and MS "
            "apart: rsfusion fuse PAN.TIL MS.TIL OUT.tif"
        )
    return Product("Maxar delivery", images["PAN"][0], images["MS"][0])


def _source(path: str, text: str) -> Source:
    with opened(Source(path, text, (path,)), "the delivery") as file:
        return Source(path, text, tuple(file.files))
