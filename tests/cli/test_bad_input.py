"""Users' mistakes, through the real programs: status 2, one sentence, nothing left behind."""

import os
import pickle
from pathlib import Path

import h5py
import numpy as np
import programs
import pytest

ROOT = Path(__file__).resolve().parents[2]
TRAIN = [str(ROOT / "train.py"), "--workdir=run"]
EVALUATE = [str(ROOT / "evaluate.py")]
RSFUSION = ["-m", "rsfusion_jax.cli.main"]
FILE = "--config.data.train=set.h5"
NO_TEST = ["--config.data.valid=", "--config.data.test="]


def _write_set(
    path, *, bands=4, keys=("gt", "ms", "lms", "pan"), ms_side=16, spoil=None, scale=2047
):
    """A set in PanCollection's layout: NCHW, counts."""
    rng = np.random.default_rng(0)
    shapes = {"gt": (bands, 64, 64), "ms": (bands, ms_side, ms_side)}
    shapes |= {"lms": (bands, 64, 64), "pan": (1, 64, 64)}
    with h5py.File(path, "w") as file:
        for key in keys:
            values = rng.random((4, *shapes[key])) * scale
            if spoil == key:
                values[0, 0, 0, 0] = np.nan
            file[key.replace("wrong_", "")] = values


def _good():
    _write_set("set.h5")


def _truncated():
    _write_set("set.h5")
    os.truncate("set.h5", 3000)


def _not_hdf5():
    Path("set.h5").write_text("hello")


def _no_pan():
    _write_set("set.h5", keys=("gt", "ms", "lms"))


def _nan():
    _write_set("set.h5", spoil="gt")


def _eight_bands():
    _write_set("set.h5", bands=8)


def _ratio_3_5():
    _write_set("set.h5", ms_side=18)


def _unit_range():
    _write_set("set.h5", scale=1)


def _no_gt():
    _write_set("set.h5", keys=("ms", "lms", "pan"))


def _other_files():
    Path("run").mkdir()
    Path("run/thesis.tex").write_text("dear")


def _workdir_is_a_file():
    Path("run").write_text("")


def _unsafe_pickle():
    _write_set("set.h5")
    Path("w.pth").write_bytes(pickle.dumps(Path("/")))


def _unsafe_torch_file():
    torch = pytest.importorskip("torch", reason="needs the extra [torch]")
    _write_set("set.h5")
    torch.save({"net": Path("/")}, "w.pth")


def _other_weights():
    torch = pytest.importorskip("torch", reason="needs the extra [torch]")
    _write_set("set.h5")
    torch.save({"conv.weight": torch.zeros(3, 3)}, "w.pth")


def _truncated_weights():
    torch = pytest.importorskip("torch", reason="needs the extra [torch]")
    _write_set("set.h5")
    torch.save({"conv.weight": torch.zeros(300, 300)}, "w.pth")
    os.truncate("w.pth", 5000)


SCORE = [*EVALUATE, "--methods=u2net:w.pth", "--data=set.h5", "--sensor=qb"]
TRAIN_FILE = [*TRAIN, FILE, "--config.data.sensor=qb", *NO_TEST]
# name: (what lies in the folder, command, what the sentence names, what it tells to do)
CASES = {
    "misspelt field": (None, [*TRAIN, "--config.train.batchsize=4"], "batchsize", "batch_size"),
    "wrong type": (None, [*TRAIN, "--config.train.batch_size=4.5"], "batch_size", "int"),
    "stray argument": (None, [*TRAIN, "config.seed=1"], "config.seed=1", "--name=value"),
    "missing config": (None, [*TRAIN, "--config=nope.py"], "nope.py", "--help"),
    "missing set": (None, TRAIN_FILE, "set.h5", "path"),
    "truncated set": (_truncated, TRAIN_FILE, "set.h5", "again"),
    "no HDF5": (_not_hdf5, TRAIN_FILE, "set.h5", "HDF5"),
    "missing key": (_no_pan, TRAIN_FILE, "'pan'", "rename"),
    "NaN": (_nan, TRAIN_FILE, "'gt'", "NaN"),
    "wrong bands": (_eight_bands, TRAIN_FILE, "8", "sensor"),
    "ratio 3.5": (_ratio_3_5, TRAIN_FILE, "'ms'", "crop"),
    "scaled already": (_unit_range, TRAIN_FILE, "[0, 1]", "max_value=1"),
    "no truth": (_no_gt, TRAIN_FILE, "'gt'", "reduced-resolution"),
    "unknown sensor": (_good, [*TRAIN, "--config.data.sensor=wv9"], "wv9", "wv3"),
    "unknown network": (_good, [*TRAIN_FILE, "--config.model.name=unet"], "unet", "u2net"),
    "unknown loss": (_good, [*TRAIN_FILE, "--config.train.loss=l3"], "l3", "l1"),
    "unknown metric": (_good, [*TRAIN_FILE, "--config.eval.best_metric=QNR"], "QNR", "ERGAS"),
    "patch of 30": (_good, [*TRAIN_FILE, "--config.data.patch_size=30"], "30", "multiple"),
    "patch too large": (_good, [*TRAIN_FILE, "--config.data.patch_size=128"], "128", "64"),
    "no steps": (_good, [*TRAIN_FILE, "--config.train.steps=0"], "train.steps", "set one"),
    "missing start": (_good, [*TRAIN_FILE, "--config.init_from=gone"], "gone", "run folder"),
    "folder of others": (_other_files, TRAIN, "run", "--workdir"),
    "folder is a file": (_workdir_is_a_file, [*TRAIN_FILE], "run", "--workdir"),
    "devices": (_good, [*TRAIN_FILE, "--config.mesh.devices=64"], "mesh.devices=64", "0 for all"),
    "nothing to score": (None, EVALUATE, "nothing to score", "--methods"),
    "missing run": (None, [*EVALUATE, "--workdir=runs/gone"], "runs/gone", "run folder"),
    "no set": (None, [*EVALUATE, "--methods=gsa"], "no data set", "--data"),
    "whose pixels": (_good, [*EVALUATE, "--methods=gsa", "--data=set.h5"], "set.h5", "--sensor"),
    "pickle": (_unsafe_pickle, SCORE, "w.pth", "state_dict"),
    "unsafe weights": (_unsafe_torch_file, SCORE, "w.pth", "state_dict"),
    "weights of another": (_other_weights, SCORE, "conv.weight", "name the network"),
    "truncated weights": (_truncated_weights, SCORE, "w.pth", "again"),
    "port without bands": (
        None,
        [*RSFUSION, "port", "w.pth", "o", "--model=u2net"],
        "port",
        "--num",
    ),
    "port to a type": (
        None,
        [*RSFUSION, "port", "w.pth", "o", "--model=u2net", "--num-bands=8", "--set=dtype=5"],
        "--set dtype",
        "--num-bands",
    ),
    "port nothing": (
        None,
        [*RSFUSION, "port", "w.pth", "o", "--model=u2net", "--num-bands=8"],
        "w.pth",
        "path",
    ),
}
NEEDS_TORCH = {
    "pickle",
    "unsafe weights",
    "weights of another",
    "truncated weights",
    "port nothing",
}


@pytest.mark.parametrize("case", CASES)
def test_one_sentence_status_2_and_nothing_left(case, tmp_path, monkeypatch):
    if case in NEEDS_TORCH:
        pytest.importorskip("torch", reason="needs the extra [torch]")
    prepare, command, culprit, remedy = CASES[case]
    monkeypatch.chdir(tmp_path)
    if prepare is not None:
        prepare()
    before = sorted(tmp_path.rglob("*"))
    done = programs.run(command)
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr + done.stdout
    message = done.stderr[done.stderr.index("error: ") :]
    sentence, *details = message.strip().splitlines()
    assert culprit in message and remedy in sentence
    assert all(line.startswith("  ") for line in details)  # only a list of tensors may follow
    assert sorted(tmp_path.rglob("*")) == before
