"""The pictures of docs/deliveries.md: each kind of delivery, written in its provider's layout.

    python -m benchmarks.studies.delivery_pictures --tile=FILE --out=docs/images

Run from the clone's root. Data: the Sentinel-2 tile S2A_MSIL1C_20170527_T33UUB.mat in the folder
`data` of https://github.com/lanha/DSen2 (contains modified Copernicus Sentinel data of 2017, CC BY
4.0), and for `pair` the rendered town of `rsfusion sample`.

The writers are those of the tests, which draw synthetic bands otherwise. Each picture has the
interpolated MS on the left and what the command of that section makes of it on the right.
"""

import argparse
import contextlib
import importlib.util
import io
import tempfile
from pathlib import Path

import h5py
import numpy as np
import rasterio
import scipy.ndimage

from benchmarks.command_line import words
from rsfusion_jax.cli.main import run

_CENTRES = {
    # Of the tile's bands: of 10 m in its own order, then of 20 m.
    "im10": (665, 560, 490, 842),
    "im20": (705, 740, 783, 865, 1610, 2190),
}
_COLOURS = (490, 560, 660, 830)
_KINDS = {
    # What the writers call their bands for: centres in nm, and the corner of the tile.
    "landsat": ((443, 482, 561, 655, 865, 1609, 2201), (40, 300)),
    "sentinel2": ((490, 443, 560, 705, 665, 740, 783, 865, 842, 1610, 2190, 945), (40, 300)),
    "prisma": ((*np.linspace(1000, 410, 9), *np.linspace(2400, 940, 12)), (330, 30)),
    "maxar": (_COLOURS, (200, 200)),
    "airbus": ((660, 560, 490, 830), (300, 330)),
    "bands": (_COLOURS[2::-1], (90, 380)),
    "guides": ((*_COLOURS[2::-1], *np.linspace(450, 900, 24)), (330, 330)),
}


def main() -> None:
    """Make the pictures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tile", type=Path, required=True, help="the .mat file of the tile")
    parser.add_argument("--out", type=Path, required=True, help="folder for the pictures")
    parser.add_argument("--kinds", type=words, default=["pair", *_KINDS])
    arguments = parser.parse_args()
    tile = _read_tile(arguments.tile)
    for kind in arguments.kinds:
        with tempfile.TemporaryDirectory() as folder:
            images = _write(kind, Path(folder), tile)
            path = arguments.out / f"delivery_{kind}.png"
            _picture([str(image) for image in images], Path(folder), path)
            print(f"{path}: {path.stat().st_size / 1000:.0f} kB")


def _read_tile(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Centres in nm, ascending, and bands (10, 600, 600) of the tile on its grid of 10 m."""
    with h5py.File(path) as file:
        images = {name: np.asarray(file[name], float).transpose(0, 2, 1) for name in _CENTRES}
    images["im20"] = np.stack(
        [scipy.ndimage.zoom(band, 2, order=3, grid_mode=True, mode="nearest")
         for band in images["im20"]]
    )  # fmt: skip
    centres = np.concatenate([_CENTRES[name] for name in _CENTRES])
    order = np.argsort(centres)
    return centres[order], np.concatenate([images[name] for name in _CENTRES])[order]


def _write(kind: str, folder: Path, tile) -> list[Path]:
    """Write a delivery; returns what its command names."""
    if kind == "pair":
        with contextlib.redirect_stdout(io.StringIO()):
            run(["sample", str(folder / "sample")])
        return [folder / "sample" / name for name in ("PAN.tif", "MS.tif")]
    writers = _writers()
    wavelengths, (top, left) = _KINDS[kind]

    def bands(height, width, count, *_, **__):
        """(count, height, width): the tile at the wavelengths, each between its neighbours."""
        image = np.empty((count, height, width))
        for index, wavelength in enumerate(wavelengths):
            place = np.interp(wavelength, tile[0], np.arange(len(tile[0])))
            below = int(min(place, len(tile[0]) - 2))
            share = place - below
            mixed = (1 - share) * tile[1][below] + share * tile[1][below + 1]
            image[index] = mixed[top : top + height, left : left + width]
        return np.rint(image).clip(1, 65535).astype(np.uint16)

    writers.bands = bands
    if kind in ("landsat", "sentinel2", "prisma"):
        size = {"landsat": 90, "sentinel2": 180, "prisma": 30}[kind]
        return [getattr(writers, f"write_{kind}")(folder, size=size)[0]]
    if kind in ("maxar", "airbus"):
        return [getattr(writers, f"write_{kind}")(folder, size=(46, 46))[0]]
    sharp = bands(180, 180, len(wavelengths))
    if kind == "bands":
        pan = np.rint(sharp.mean(0, keepdims=True)).astype(np.uint16)
        coarse = writers.reduced(sharp, 2)
        files = [writers.write(folder / "B8.TIF", pan, 15)]
        return files + [
            writers.write(folder / f"B{4 - i}.TIF", band[None], 30) for i, band in enumerate(coarse)
        ]
    guide = writers.write(folder / "RGB.tif", sharp[:3], 5)
    cube = writers.write(folder / "HYPERSPECTRAL.tif", writers.reduced(sharp[3:], 4), 20)
    with rasterio.open(cube, "r+") as file:
        for band, wavelength in enumerate(wavelengths[3:], start=1):
            file.update_tags(band, wavelength=f"{wavelength:.0f}", wavelength_units="nanometers")
    return [guide, cube]


def _writers():
    """The module of the tests that writes products; it has no package."""
    path = Path(__file__).parents[2] / "tests/helpers/deliveries.py"
    spec = importlib.util.spec_from_file_location("deliveries", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _picture(images: list[str], folder: Path, path: Path) -> None:
    """Fuse a delivery by interpolation and by its command, side by side."""
    halves = []
    for name, options in (("before", ["--method=exp"]), ("after", [])):
        quicklook = folder / f"{name}.png"
        flags = [f"--quicklook={quicklook}", "--quiet", "--samples=0", *options]
        run(["fuse", *images, str(folder / f"out_{name}.tif"), *flags])
        with rasterio.open(quicklook) as file:
            halves.append(file.read()[:, :180, :180])
    gap = np.full((3, halves[0].shape[1], 4), 255, np.uint8)
    whole = np.concatenate([halves[0], gap, halves[1]], axis=2)
    profile = {"driver": "PNG", "count": 3, "height": whole.shape[1], "width": whole.shape[2]}
    with (
        rasterio.Env(GDAL_PAM_ENABLED="NO"),
        rasterio.open(path, "w", dtype="uint8", ZLEVEL=9, **profile) as file,
    ):
        file.write(whole)


if __name__ == "__main__":
    main()
