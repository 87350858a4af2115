"""Which product a folder, archive or file is."""

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from rsfusion_jax.errors import UserError
from rsfusion_jax.scenes.products import airbus, landsat, maxar, prisma, sentinel2
from rsfusion_jax.scenes.products.files import list_files
from rsfusion_jax.scenes.products.product import Product


@contextlib.contextmanager
def opened_product(where: str | os.PathLike) -> Iterator[Product]:
    """Yields a product; what had to be converted is removed at the end.

    Args:
        where: a product's folder, archive, or file of metadata.

    Raises:
        UserError: no product that a reader knows, or one that is not complete.
    """
    path = Path(where)
    files = list_files(path)
    given = path.name if path.is_file() and files.root != path else None
    for reader in (landsat, sentinel2, maxar, airbus):
        try:
            product = reader.read(files, given)
        except (KeyError, OSError, SyntaxError, ValueError) as error:
            # A ParseError of XML is a SyntaxError.
            raise UserError(
                f"{where} has metadata that are damaged or incomplete ({error}); copy it again, or "
                "give PAN, MS and OUT"
            ) from error
        if product is not None:
            yield product
            return
    with tempfile.TemporaryDirectory(prefix="rsfusion_") as folder:
        product = prisma.read(files, given, folder)
        if product is None:
            raise UserError(
                f"{where} is no product that is known (Landsat 8 and 9, Sentinel-2, PRISMA L2D, "
                "Maxar, Airbus DIMAP); give PAN, MS and OUT"
            )
        yield product
