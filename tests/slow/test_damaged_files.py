"""Files with flipped bits and cut ends: the undamaged result, or one sentence and nothing left.

Formats of this project, and archives with checksums, must never give another result. A format
without checksums (HDF5, uncompressed values) cannot tell a changed value from a measured one; there
only a sound end is asked for.
"""

import os
import random
import shutil
from pathlib import Path

import h5py
import jax
import numpy as np
import programs
import pytest
import scipy.io

import rsfusion_jax as rsf
from rsfusion_jax.models import init_params

RSFUSION = ["-m", "rsfusion_jax.cli.main"]
pytestmark = pytest.mark.slow
DAMAGES = 24  # of each kind of file: half of them flips, the others cuts and overwritten places
FUSE = ["--method=gsa", "--quiet"]
KINDS = {  # what is damaged, the command, what it writes, whether other results are impossible
    "GeoTIFF": ("pan.tif", ["fuse", "pan.tif", "ms.tif", "out.tif", *FUSE], "out.tif", False),
    "HDF5": ("set.h5", ["convert", "set.h5", "out.h5"], "out.h5", False),
    "MATLAB": ("set.mat", ["convert", "set.mat", "out.h5"], "out.h5", False),
    "PyTorch": (
        "w.pth",
        ["port", "w.pth", "out", "--model=pnn", "--num-bands=8", "--sensor=wv3"],
        "out",
        True,
    ),
    "checkpoint": ("run", ["port", "run", "out.pth", "--to-torch"], "out.pth", True),
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A folder with an undamaged file of every kind."""
    pytest.importorskip("torch", reason="needs the extra [torch]")
    folder = tmp_path_factory.mktemp("whole")
    draw = np.random.default_rng(1)
    shapes = {"gt": (8, 32), "ms": (8, 8), "lms": (8, 32), "pan": (1, 32)}
    arrays = {k: draw.random((3, c, s, s)) * 900 for k, (c, s) in shapes.items()}
    with h5py.File(folder / "set.h5", "w") as file:
        for key, array in arrays.items():
            file[key] = array
    scipy.io.savemat(folder / "set.mat", arrays, do_compression=True)
    assert programs.run([*RSFUSION, "sample", str(folder)]).returncode == 0
    for name in ("PAN.tif", "MS.tif"):
        (folder / name).rename(folder / name.lower())
    model = rsf.create_model("pnn", num_bands=8)
    fuser = rsf.Fuser(model, {"params": init_params(model, jax.random.key(0))}, sensor="wv3")
    rsf.save_torch(fuser, folder / "w.pth")
    port = [*RSFUSION, *KINDS["PyTorch"][1]]
    ended = _run(folder, port)
    assert ended.returncode == 0, ended.stderr
    (folder / "out").rename(folder / "run")
    return folder


def _run(folder, command):
    here = Path.cwd()
    os.chdir(folder)
    try:
        return programs.run(command, timeout=120)
    finally:
        os.chdir(here)


def _damage(path: Path, draw: random.Random, index: int) -> str:
    """Damage a file, or one of the files of a folder; say how."""
    files = [path] if path.is_file() else [p for p in path.rglob("*") if p.is_file()]
    files = [file for file in files if file.stat().st_size]
    file = draw.choices(files, [p.stat().st_size ** 0.5 for p in files])[0]
    content = bytearray(file.read_bytes())
    place = draw.randrange(len(content))
    if index % 4 < 2:
        content[place] ^= 1 << draw.randrange(8)
        how = f"bit of byte {place}"
    elif index % 4 == 2:
        del content[place:]
        how = f"cut at {place}"
    else:
        length = min(draw.randrange(1, 200), len(content) - place)
        content[place : place + length] = draw.randbytes(length)
        how = f"{length} bytes from {place}"
    file.write_bytes(content)
    return f"{file.name}: {how} of {len(content)}"


def _result(path: Path):
    """What a command wrote, comparable."""
    if path.suffix == ".pth":
        import torch

        return {k: v.numpy().tobytes() for k, v in torch.load(path, weights_only=True).items()}
    if path.is_dir():
        leaves = jax.tree.leaves(rsf.load(path).variables)
        return [np.asarray(leaf).tobytes() for leaf in leaves]
    return path.read_bytes()


@pytest.mark.parametrize("kind", KINDS)
def test_damage(kind, whole, tmp_path):
    name, command, out, checked = KINDS[kind]
    inputs = {"GeoTIFF": ("pan.tif", "ms.tif")}.get(kind, (name,))
    draw = random.Random(kind)
    expected, ends = None, {0: 0, 2: 0}
    for index in range(-1, DAMAGES):
        folder = tmp_path / str(index)
        folder.mkdir()
        for source in inputs:
            copy = shutil.copytree if (whole / source).is_dir() else shutil.copy
            copy(whole / source, folder / source)
        how = "undamaged" if index < 0 else _damage(folder / name, draw, index)
        ended = _run(folder, [*RSFUSION, *command])
        said = f"{kind}, {how}: status {ended.returncode}, {ended.stderr[-600:]}"
        assert ended.returncode in (0, 2) and "Traceback" not in ended.stderr, said
        if ended.returncode == 2:
            assert ended.stderr.strip().splitlines()[-1].startswith("error: "), said
            assert sorted(p.name for p in folder.iterdir()) == sorted(inputs), said
        elif checked:
            expected = expected or _result(folder / out)
            assert _result(folder / out) == expected, said
        ends[ended.returncode] += 1
        shutil.rmtree(folder)
    assert ends[0] and ends[2], ends
    print(kind, ends)
