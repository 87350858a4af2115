"""Damaged metadata, configs and weights: a sound end, or one sentence and nothing left.

Text has no checksums: a digit that became another is not told, so only the end is asked for. The
packaged weights have some, so there no other numbers are taken. Everything runs in this process,
as nothing but Python reads these files, except for DIMAP and TIL, which GDAL reads too.
"""

import json
import random
import shutil

import h5py
import jax
import numpy as np
import pytest
from deliveries import write_airbus, write_landsat, write_maxar, write_sentinel2

import rsfusion_jax as rsf
from rsfusion_jax.cli.main import COMMANDS, run
from rsfusion_jax.inference import default
from rsfusion_jax.models import init_params

pytestmark = [
    pytest.mark.slow,
    # What GDAL and readers say of damaged metadata besides.
    pytest.mark.filterwarnings("ignore"),
]
DAMAGES = 60
OF_PRODUCTS = 24  # of which each is fused where the damage is not found
QUICK = ["--method=exp", "--samples=0", "--shift=none", "--quiet"]
PORT = ["--model=pnn", "--num-bands=4", "--sensor=qb"]
TEXTS = (".txt", ".json", ".xml", ".imd", ".til", ".rpb", ".py")
SENSOR = {"name": "mine", "bands": ["b", "g", "r", "n"], "mtf_ms": [0.3, 0.3, 0.3, 0.25]}
SENSOR |= {"mtf_pan": 0.15, "bit_depth": 11, "ratio": 4}
RECIPE = """
from rsfusion_jax.training.config import default_config

def get_config(name="a"):
    config = default_config()
    config.name = name
    config.train.update(steps=10, batch_size=4)
    config.optim.learning_rate = 1e-3
    return config
"""


def write_set(path):
    draw = np.random.default_rng(0)
    with h5py.File(path, "w") as file:
        for key, (bands, side) in {"gt": (4, 16), "ms": (4, 4), "pan": (1, 16)}.items():
            file[key] = draw.random((2, bands, side, side)) * 900


def whole(kind, folder):
    """Write an undamaged input; return what is damaged and the arguments of the command."""
    writers = {
        "Landsat": write_landsat,
        "Sentinel-2": write_sentinel2,
        "Maxar": write_maxar,
        "Airbus": write_airbus,
    }
    if kind in writers:
        root = writers[kind](folder)[0]
        return root, ["fuse", str(root), str(folder / "out.tif"), *QUICK]
    if kind == "sensor":
        # Elsewhere: HDF5 takes a new file in an old one's place on the disk for that one.
        stored = folder.with_name(f"{folder.name}_set.h5")
        write_set(stored)
        (folder / "own.json").write_text(json.dumps(SENSOR))
        argv = ["check", str(stored), f"--sensor={folder / 'own.json'}"]
        return folder / "own.json", argv
    if kind == "recipe":
        (folder / "own.py").write_text(RECIPE)
        return folder / "own.py", [f"--config={folder / 'own.py'}:b", "--config.train.steps=20"]
    model = rsf.create_model("pnn", num_bands=4)
    fuser = rsf.Fuser(model, {"params": init_params(model, jax.random.key(0))}, sensor="qb")
    rsf.save_torch(fuser, folder / "w.safetensors")
    return folder / "w.safetensors", ["port", str(folder / "w.safetensors"), str(folder / "out")]


def damage(path, draw, index):
    """Damage a file or one of the texts of a folder; say how."""
    texts = [path] if path.is_file() else [p for p in path.rglob("*") if p.is_file()]
    texts = [p for p in texts if p == path or p.suffix.lower() in TEXTS]
    file = draw.choice(sorted(texts))
    content = bytearray(file.read_bytes())
    # Of weights the header, where all else lies as it came.
    place = draw.randrange(min(len(content), 3000))
    if index % 4 < 2:
        content[place] ^= 1 << draw.randrange(8)
    elif index % 4 == 2:
        del content[place:]
    else:
        length = min(draw.randrange(1, 60), len(content) - place)
        content[place : place + length] = draw.randbytes(length)
    file.write_bytes(content)
    return f"{file.name}: {index % 4} at {place}"


def ended(kind, argv, capsys):
    """Status and last line of a command."""
    capsys.readouterr()
    try:
        if kind == "recipe":
            COMMANDS["train"].make_parser("rsfusion train").parse_args(argv)
        else:
            run([*argv, *(PORT if argv[0] == "port" else [])])
    except SystemExit as stop:
        printed = capsys.readouterr().err
        return stop.code or 0, printed
    return 0, capsys.readouterr().err


@pytest.mark.parametrize(
    "kind",
    ["Landsat", "Sentinel-2", "Maxar", "Airbus", "sensor", "recipe", "safetensors"],
)
def test_damage(kind, tmp_path, capsys):
    path, argv = whole(kind, tmp_path)
    sound = tmp_path.with_name(f"{tmp_path.name}_sound")
    shutil.copytree(tmp_path, sound)
    draw, ends = random.Random(kind), {0: 0, 1: 0, 2: 0}
    for index in range(-1, OF_PRODUCTS if argv[0] == "fuse" else DAMAGES):
        shutil.rmtree(tmp_path)
        shutil.copytree(sound, tmp_path)
        before = sorted(p.name for p in tmp_path.rglob("*"))
        how = "undamaged" if index < 0 else damage(path, draw, index)
        status, printed = ended(kind, argv, capsys)
        said = f"{kind}, {how}: status {status}, {printed[-1500:]}"
        # `check` ends with 1 where a set has errors, such as too few bands for the sensor.
        assert status in ((0, 1, 2) if kind == "sensor" else (0, 2)), said
        assert "Traceback" not in printed and (index >= 0 or status < 2), said
        if status == 2:
            last = [line for line in printed.splitlines() if line.startswith("error: ")]
            assert len(last) == 1 and printed.strip().endswith(last[0]), said
            assert sorted(p.name for p in tmp_path.rglob("*")) == before, said
        ends[status] += 1
    assert ends[2] > 5, ends
    print(kind, ends)


def test_packaged_weights(tmp_path, monkeypatch):
    shutil.copytree(default.FOLDER, tmp_path / "w")
    monkeypatch.setattr(default, "FOLDER", tmp_path / "w")
    path = tmp_path / "w" / "model.safetensors"
    sound, params = path.read_bytes(), default.default_params()
    draw, refused = random.Random(0), 0
    for index in range(DAMAGES):
        content = bytearray(sound)
        place = draw.randrange(len(content))
        if index % 2:
            content[place] ^= 1 << draw.randrange(8)
        else:
            del content[place:]
        path.write_bytes(content)
        try:
            loaded = default.default_params()
        except rsf.UserError:
            refused += 1
        else:
            assert jax.tree.all(jax.tree.map(np.array_equal, loaded, params)), place
    assert refused > DAMAGES // 2
    print("safetensors", {"refused": refused, "same": DAMAGES - refused})
