"""Commands on a disk that is really full: one sentence, status 2, nothing left."""

import json
import subprocess
from pathlib import Path

import h5py
import numpy as np
import programs
import pytest

ROOT = Path(__file__).resolve().parents[2]
RSFUSION = ["-m", "rsfusion_jax.cli.main"]
pytestmark = pytest.mark.slow


@pytest.fixture
def full(tmp_path):
    """A file system of 2 MB with 150 kB left."""
    folder = tmp_path / "full"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)]
    try:
        mounted = subprocess.run(mount, capture_output=True).returncode == 0
    except FileNotFoundError:
        mounted = False
    if not mounted:
        pytest.skip("a file system of one's own needs root")
    try:
        (folder / "filler").write_bytes(bytes(2 * 2**20 - 150_000))
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    """A set, a pair of images, weights as .pth and as a run folder."""
    pytest.importorskip("torch", reason="needs the extra [torch]")
    folder = tmp_path_factory.mktemp("inputs")
    random = np.random.default_rng(0)
    with h5py.File(folder / "set.h5", "w") as file:
        for key, shape in {"gt": (8, 64), "ms": (8, 16), "lms": (8, 64), "pan": (1, 64)}.items():
            file[key] = random.random((4, shape[0], shape[1], shape[1])) * 1000
    assert programs.run([*RSFUSION, "sample", str(folder / "pair")]).returncode == 0
    import jax

    from rsfusion_jax import Fuser, create_model, save_torch
    from rsfusion_jax.models import init_params

    model = create_model("pnn", num_bands=8)
    fuser = Fuser(model, {"params": init_params(model, jax.random.key(0))}, sensor="wv3")
    save_torch(fuser, folder / "w.pth")
    port = ["port", str(folder / "w.pth"), str(folder / "run"), "--model=pnn", "--num-bands=8"]
    assert programs.run([*RSFUSION, *port, "--sensor=wv3"]).returncode == 0
    return folder


COMMANDS = {
    "convert": ["convert", "{0}/set.h5", "{1}/fast.h5"],
    "port": ["port", "{0}/w.pth", "{1}/run", "--model=pnn", "--num-bands=8", "--sensor=wv3"],
    "port to torch": ["port", "{0}/run", "{1}/back.pth", "--to-torch"],
    "sample": ["sample", "{1}/sample"],
    "simulate": ["simulate", "{0}/pair/PAN.tif", "{0}/pair/MS.tif", "{1}/new.h5", "--sensor=wv4"],
    "fuse": ["fuse", "{0}/pair/PAN.tif", "{0}/pair/MS.tif", "{1}/sharp.tif", "--method=brovey"],
    "export": ["export", "{0}/run", "{1}/network.rsfusion"],
}


@pytest.mark.parametrize("command", COMMANDS)
def test_a_full_disk(command, inputs, full):
    arguments = [argument.format(inputs, full) for argument in COMMANDS[command]]
    ended = programs.run([*RSFUSION, *arguments], timeout=300)
    assert ended.returncode == 2, ended.stderr
    last = ended.stderr.strip().splitlines()[-1]
    assert last.startswith("error: ") and "Traceback" not in ended.stderr, json.dumps(ended.stderr)
    assert [path.name for path in full.iterdir()] == ["filler"]
