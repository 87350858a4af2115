"""An option that would change nothing is refused: commands x options x methods, in one table."""

import json

import h5py
import jax
import numpy as np
import pytest
from scene_files import counts, write_pair

import rsfusion_jax as rsf
from rsfusion_jax.cli.main import COMMANDS, run
from rsfusion_jax.models import init_params

FUSE = ["fuse", "pan.tif", "ms.tif", "out.tif"]
GSA = [*FUSE, "--method=gsa"]
PNN = [*FUSE, "--weights=pnn.pth", "--model=pnn", "--sensor=qb"]
RUN = [*FUSE, "--weights=run"]
PAIR = ["simulate", "pan.tif", "ms.tif", "out.h5", "--sensor=qb"]
CUBE = ["simulate", "ms.tif", "out.h5", "--srf=rows.csv", "--sensor=qb"]
SCORE = ["evaluate", "--methods=gsa", "--data=set.h5", "--sensor=qb"]
OWN = ["evaluate", "--workdir=run"]
FOLDER = ["evaluate", "--methods=exp", "--data=clouds"]
DRAW, DRAW_OWN, DRAW_FOLDER = (["explain", "new", *one[1:]] for one in (SCORE, OWN, FOLDER))
SERVE = ["view", "pan.tif", "--serve"]
BACK = ["port", "run", "out.pth", "--to-torch"]

IGNORED = {  # option: commands for which it would change nothing, with its value
    "fuse": {
        "--model": [(GSA, "pnn"), (RUN, "pnn")],
        "--key": [(GSA, "ema"), (RUN, "ema"), (FUSE, "ema"), ([*PNN, "--adapt=1"], "ema")],
        "--method": [(PNN, "gsa"), ([*FUSE, "--adapt=1"], "gsa")],
        "--max-value": [(GSA, "2047")],
        "--tile": [(GSA, "64")],
        "--overlap": [(GSA, "16"), (PNN, "16"), ([*FUSE, "--adapt=1"], "16")],
        "--sampler": [(GSA, "ddim"), (PNN, "ddim"), ([*FUSE, "--adapt=1"], "ddim")],
        "--steps": [(GSA, "3"), (PNN, "3"), ([*FUSE, "--adapt=1"], "3")],
        "--seed": [(GSA, "3"), (PNN, "3"), ([*FUSE, "--adapt=1"], "3")],
        "--draws": [(GSA, "3"), (PNN, "3"), ([*FUSE, "--adapt=1"], "3")],
        "--std": [(PNN, "s.tif"), (GSA, "s.tif")],
        "--network": [(FUSE, "pnn"), (PNN, "pnn"), ([*PNN, "--adapt=1"], "pnn")],
        "--strict": [(FUSE, None)],
        "--keep": [(GSA, "kept")],
        "--no-hold-out": [(GSA, None)],
        "--full-resolution": [(PNN, "1")],
        "--fine-tune": [(PNN, "5")],
        "--rgb": [(GSA, "3,2,1")],
        "--resume": [([*FUSE, "--adapt=1"], None)],
        "--shard": [([*FUSE, "--adapt=1"], "1/2")],
        "--drivers": [(["fuse", "landsat", "out.tif"], "ENVI")],
        "--follow": [(["fuse", "landsat", "out.tif"], None)],
    },
    "simulate": {
        "--srf": [(PAIR, "rgb")],
        "--wavelengths": [(PAIR, "400:700"), (CUBE, "400:700")],
        "--pan-degradation": [(CUBE, "mtf")],
        "--mtf": [([*PAIR, "--psf=box"], "wv3"), ([*CUBE, "--psf=gaussian"], "wv3")],
        "--psf-sigma": [(PAIR, "1"), ([*PAIR, "--psf=box"], "1")],
        "--psf-size": [(PAIR, "3")],
        "--full-resolution": [(CUBE, None)],
    },
    "evaluate": {
        "--key": [(SCORE, "ema"), (OWN, "ema")],
        "--sensor": [(OWN, "qb"), (FOLDER, "qb")],
        "--max-value": [(OWN, "2047"), (FOLDER, "2047")],
        "--axes": [(OWN, "NCHW"), (FOLDER, "NCHW")],
        "--ratio": [(OWN, "4")],
        "--wrap": [(OWN, None), (FOLDER, None)],
    },
    "explain": {
        "--key": [(DRAW, "ema"), (DRAW_OWN, "ema")],
        "--sensor": [(DRAW_OWN, "qb"), (DRAW_FOLDER, "qb")],
        "--max-value": [(DRAW_OWN, "2047"), (DRAW_FOLDER, "2047")],
        "--axes": [(DRAW_OWN, "NCHW"), (DRAW_FOLDER, "NCHW")],
        "--ratio": [(DRAW_OWN, "4")],
        "--blocks": [(DRAW, "fd2r")],
        "--pixel": [(DRAW, "1,1")],
    },
    "port": {
        "--model": [(BACK, "pnn")],
        "--num-bands": [(BACK, "4")],
        "--guide-bands": [(BACK, "1")],
        "--ratio": [(BACK, "4")],
        "--sensor": [(BACK, "qb")],
        "--max-value": [(BACK, "2047")],
        "--key": [(BACK, "ema")],
        "--set": [(BACK, "dim=8")],
    },
    "check": {
        "--sensor": [(["check", "clouds"], "qb")],
        "--axes": [(["check", "clouds"], "NCHW")],
    },
    "view": {
        "-o": [(SERVE, "page.html")],
        "--page": [(SERVE, "page.html")],
        "--limit": [(SERVE, "3")],
        "--overwrite": [(SERVE, None)],
        "--quiet": [(SERVE, None)],
        "--port": [(["view", "pan.tif"], "8000")],
    },
    "compare": {"--overwrite": [(["compare", "run"], None)]},
    "train": {  # of one process, where the three of several are not all there
        "--coordinator": [(["train"], "localhost:1")],
        "--num-processes": [(["train"], "2")],
        "--process-id": [(["train"], "0")],
    },
}
USED = {  # options that change what every call of the command does
    "fuse": "weights sensor bands nodata adapt extent shift grid ratio no-warp dtype format "
    "compress no-overviews quicklook report view interval samples overwrite memory block batch "
    "quiet",
    "simulate": "sensor ratio psf phase patch split max-value seed",
    "evaluate": "workdir methods data batch-size out save-mat view over-runs",
    "explain": "workdir methods data images",
    "port": "to-torch",
    "convert": "overwrite axes",
    "export": "tile batch platforms",
    "train": "config workdir profile distributed",
    "view": "report serve drivers follow",
    "compare": "metrics plot",
}


def test_the_table_has_every_option():
    for name, command in COMMANDS.items():
        actions = command.make_parser(name)._actions
        flags = {flag for action in actions for flag in action.option_strings}
        used = {f"--{word}" for word in USED.get(name, "").split()}
        assert flags - {"-h", "--help"} == used | IGNORED.get(name, {}).keys(), name
        assert not used & IGNORED.get(name, {}).keys()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    pytest.importorskip("torch", reason="needs the extra [torch]")
    folder = tmp_path_factory.mktemp("options")
    write_pair(folder, *counts(16, 16))
    draw = np.random.default_rng(0)
    with h5py.File(folder / "set.h5", "w") as file:
        for key, size in dict(gt=(4, 16), ms=(4, 4), pan=(1, 16)).items():
            file[key] = draw.random((2, size[0], size[1], size[1])) * 900
    (folder / "rows.csv").write_text("\n".join(["1,0"] * 4))
    for name in ("clouds", "landsat"):
        (folder / name).mkdir()
    model = rsf.create_model("pnn", num_bands=4)
    fuser = rsf.Fuser(model, {"params": init_params(model, jax.random.key(0))}, sensor="qb")
    rsf.save_torch(fuser, folder / "pnn.pth")
    port = ["port", "pnn.pth", "run", "--model=pnn", "--num-bands=4", "--sensor=qb"]
    run([str(folder / one) if one in ("pnn.pth", "run") else one for one in port])
    return folder


CASES = [
    pytest.param(argv, flag, value, id=f"{' '.join(argv)} {flag}")
    for options in IGNORED.values()
    for flag, cases in options.items()
    for argv, value in cases
]


@pytest.mark.parametrize(("argv", "flag", "value"), CASES)
def test_it_is_refused(argv, flag, value, folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    before = sorted(path.name for path in folder.rglob("*"))
    with pytest.raises(SystemExit) as ended:
        run([*argv, flag if value is None else f"{flag}={value}"])
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert ended.value.code == 2 and said.startswith("error: "), said
    # The sentence is about this option, by its name or, for a set of options, its group.
    assert flag in said or flag.removeprefix("--psf-") in said, said
    assert sorted(path.name for path in folder.rglob("*")) == before


def test_a_key_chooses_weights(folder, tmp_path, monkeypatch, capsys):
    import torch

    monkeypatch.chdir(tmp_path)
    state = torch.load(folder / "pnn.pth", weights_only=True)
    torch.save({"model": {k: 0 * v for k, v in state.items()}, "other": state}, "two.pth")
    pair = [str(folder / "pan.tif"), str(folder / "ms.tif")]
    quick = ["--model=pnn", "--sensor=qb", "--shift=none", "--samples=0", "--quiet"]
    fused = {}
    for name, weights in {
        "a": [f"--weights={folder}/pnn.pth"],
        "b": ["--weights=two.pth", "--key=other"],
        "c": ["--weights=two.pth", "--key=model"],
    }.items():
        run(["fuse", *pair, f"{name}.tif", *weights, *quick])
        fused[name] = (tmp_path / f"{name}.tif").read_bytes()
    import rasterio

    images = {name: rasterio.open(f"{name}.tif").read() for name in fused}
    assert np.array_equal(images["a"], images["b"]) and (images["a"] != images["c"]).any()
    table = {}
    for key in ("other", "model"):
        score = ["evaluate", "--methods=pnn:two.pth", f"--data={folder}/set.h5", "--sensor=qb"]
        run([*score, f"--key={key}", f"--out={key}"])
        report = json.loads((tmp_path / key / "report.json").read_text())
        table[key] = report["methods"]["PNN"]["ERGAS"]["mean"]
    assert table["other"] != table["model"]
