"""PAN and MS of different units: the packaged weights and the formulas ask for none."""

import numpy as np
import pytest
from deliveries import bands, reduced
from scene_files import read, write_pair

from rsfusion_jax.cli.main import run

UNITS = {
    # What becomes of PAN, of MS, and of the fused image back to counts.
    "reflectance beside counts": (lambda p: p, lambda m: m / 8000, lambda f: f * 8000),
    "kelvins beside counts": (lambda p: p * 11, lambda m: 260 + m / 90, lambda f: (f - 260) * 90),
    "radiance in watts": (lambda p: p, lambda m: m * 3e-10, lambda f: f / 3e-10),
    "8 bits beside 16": (lambda p: np.rint(p / 12).astype(np.uint8), lambda m: m * 17.0,
                         lambda f: f / 17),
}  # fmt: skip


@pytest.fixture(scope="module")
def images():
    sharp = bands(96, 96, 3, 31, 400, 2500)
    ms = np.moveaxis(reduced(sharp, 4), 0, -1).astype(np.float32)
    return np.moveaxis(sharp, 0, -1).astype(float), sharp.mean(0).astype(np.float32)[..., None], ms


def error(folder, truth, pan, ms, back, *options):
    out = folder / "o.tif"
    flags = ["--quiet", "--samples=0", "--shift=none", "--overwrite", "--dtype=float32"]
    run(["fuse", *map(str, write_pair(folder, pan, ms)), str(out), *flags, *options])
    return np.sqrt(np.square(back(read(out)[0].astype(float)) - truth)[8:-8, 8:-8].mean())


@pytest.mark.parametrize("name", UNITS)
def test_units_change_nothing(tmp_path, images, name):
    truth, pan, ms = images
    of_pan, of_ms, back = UNITS[name]
    for options in ((), ("--method=gsa",)):
        plain = error(tmp_path, truth, np.rint(pan).astype(np.uint16), ms, lambda f: f, *options)
        changed = of_pan(pan), of_ms(ms).astype(np.float32)
        assert error(tmp_path, truth, *changed, back, *options) < 1.1 * plain
