"""The commands on small inputs: port, evaluate, models, sensors, sample."""

import json
from pathlib import Path

import h5py
import jax
import numpy as np
import pytest
import rasterio
import scipy.io

import rsfusion_jax as rsf
from rsfusion_jax.cli.main import run
from rsfusion_jax.evaluation import evaluate as module
from rsfusion_jax.evaluation.evaluate import evaluate
from rsfusion_jax.models import catalogue, init_params


@pytest.fixture(scope="module")
def torch_file(tmp_path_factory):
    """U2Net weights under the authors' names, wrapped as the RSMIF programs save them."""
    torch = pytest.importorskip("torch", reason="needs the extra [torch]")
    model = rsf.create_model("u2net", num_bands=4, dim=8, dim_head=4)
    fuser = rsf.Fuser(model, {"params": init_params(model, jax.random.key(0))}, sensor="qb")
    path = tmp_path_factory.mktemp("weights") / "plain.pth"
    rsf.save_torch(fuser, path)
    state = torch.load(path, weights_only=True)
    wrapped = path.with_name("wrapped.pth")
    torch.save({"net": {f"module.{name}": value for name, value in state.items()}}, wrapped)
    return wrapped


def test_port_there_and_back(torch_file, tmp_path):
    import torch

    there, back = tmp_path / "ported", tmp_path / "back.pth"
    fields = ["--set", "dim=8", "--set", "dim_head=4"]
    port = ["port", str(torch_file), str(there), "--model=u2net", "--num-bands=4", "--sensor=qb"]
    run([*port, *fields])
    fuser = rsf.load(there)
    assert fuser.max_value == 2047 and fuser.sensor.name == "qb" and fuser.model.dim == 8
    run(["port", str(there), str(back), "--to-torch"])
    original = torch.load(torch_file, weights_only=True)["net"]
    returned = torch.load(back, weights_only=True)
    assert {f"module.{name}" for name in returned} == set(original)
    for name, value in returned.items():
        assert torch.equal(value, original[f"module.{name}"])
    for again in ([*port, *fields], ["port", str(there), str(torch_file), "--to-torch"]):
        before = torch_file.read_bytes()
        with pytest.raises(SystemExit) as stop:  # never overwrites
            run(again)
        assert stop.value.code == 2 and torch_file.read_bytes() == before


def test_evaluate_ported_weights_beside_classical(torch_file, tmp_path, capsys):
    rng = np.random.default_rng(0)
    scene = rsf.data.simulate(
        rng.integers(0, 2047, (256, 256, 1)), rng.integers(0, 2047, (64, 64, 4)), sensor="qb"
    )
    with h5py.File(tmp_path / "set.h5", "w") as file:
        for key, image in scene.items():
            file[key] = np.moveaxis(image, -1, 0)[None].repeat(3, 0)
    there = tmp_path / "ported"
    fields = ["--set", "dim=8", "--set", "dim_head=4", "--sensor=qb"]
    run(["port", str(torch_file), str(there), "--model=u2net", "--num-bands=4", *fields])
    evaluate(
        workdir=None,
        methods=[str(there), "gsa"],
        data=str(tmp_path / "set.h5"),
        sensor=None,
        max_value=None,
        ratio=None,
        batch_size=2,
        out=str(tmp_path / "out"),
        save_mat=True,
    )
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert list(report["methods"]) == ["EXP", "U2Net (ported)", "GSA"]
    assert report["protocol"]["images"] == 3 and report["protocol"]["max_value"] == 2047
    assert report["methods"]["GSA"]["parameters"] == 0
    lines = (tmp_path / "out" / "report.csv").read_text().splitlines()
    assert len(lines) == 1 + 3 * 3 and lines[0].startswith("method,image,SAM,ERGAS")
    assert r"\textbf" in (tmp_path / "out" / "report.tex").read_text()
    assert (tmp_path / "out" / "zoom.png").stat().st_size > 10_000
    saved = scipy.io.loadmat(tmp_path / "out" / "mat_gsa" / "output_mulExm_2.mat")["sr"]
    ergas = rsf.metrics.ergas(scene["gt"], saved, ratio=4)
    assert abs(report["methods"]["GSA"]["ERGAS"]["mean"] - ergas) < 1e-3 * ergas
    exp = report["methods"]["EXP"]
    assert exp["ERGAS"]["std"] < 1e-4  # three times the same image, each counted once
    expected = rsf.metrics.ergas(scene["gt"], scene["lms"], ratio=4)
    assert abs(exp["ERGAS"]["mean"] - expected) < 1e-2 * expected
    assert "GSA" in capsys.readouterr().out


def test_models_lists_the_zoo(capsys):
    run(["models"])
    printed = capsys.readouterr().out
    assert all(name in printed for name in rsf.list_models())
    assert "536,248" in printed  # U2Net at 8 bands, without its dead parameters


def test_models_lists_a_network_without_a_record(capsys, monkeypatch):
    monkeypatch.delitem(catalogue.PUBLICATIONS, "drpnn")
    monkeypatch.delitem(catalogue.COSTS, "pnn")
    run(["models"])
    printed = capsys.readouterr().out
    assert all(name in printed for name in rsf.list_models())


def test_sensors_lists_every_sensor(capsys):
    run(["sensors"])
    printed = capsys.readouterr().out
    assert all(name in printed for name in rsf.list_sensors())


def test_sample_is_a_pair_that_fuses(tmp_path, capsys):
    folder = tmp_path / "new" / "sample"
    run(["sample", str(folder)])
    assert sorted(path.name for path in folder.iterdir()) == ["MS.tif", "PAN.tif"]
    pair = [str(folder / name) for name in ("PAN.tif", "MS.tif")]
    run(["fuse", *pair, str(folder / "sharp.tif"), "--method=gsa", "--quiet"])
    with rasterio.open(folder / "sharp.tif") as sharp, rasterio.open(pair[1]) as ms:
        assert sharp.shape == (512, 512) and sharp.descriptions == ms.descriptions
        assert sharp.crs == ms.crs and sharp.dtypes == ms.dtypes
    before = (folder / "PAN.tif").read_bytes()
    with pytest.raises(SystemExit) as stop:
        run(["sample", str(folder)])
    assert stop.value.code == 2 and "PAN.tif exists already" in capsys.readouterr().err
    assert (folder / "PAN.tif").read_bytes() == before


def test_an_evaluation_never_overwrites_a_report(tmp_path, monkeypatch):
    scored = []
    monkeypatch.setattr(module, "leaderboard", lambda *args, **options: scored.append(args[2]))
    path = str(_full_resolution_set(tmp_path))
    options = {"workdir": None, "methods": ["gsa"], "data": path, "sensor": "qb"}
    options |= {"max_value": None, "ratio": None, "batch_size": 2}
    monkeypatch.chdir(tmp_path)
    evaluate(**options, out=None)
    evaluate(**options, out=None)  # within the same second
    assert scored[0].parent == Path("evaluations") and scored[0].is_dir()
    assert scored[1] != scored[0] and scored[1].is_dir()
    evaluate(**options, out="mine")
    (tmp_path / "mine" / "report.json").write_text("{}")
    with pytest.raises(rsf.UserError, match="mine holds the report of an earlier evaluation"):
        evaluate(**options, out="mine")
    assert len(scored) == 3 and (tmp_path / "mine" / "report.json").read_text() == "{}"


def test_full_resolution_set_is_scored_without_reference(tmp_path):
    evaluate(
        workdir=None,
        methods=["brovey"],
        data=str(_full_resolution_set(tmp_path)),
        sensor="qb",
        max_value=None,
        ratio=None,
        batch_size=2,
        out=str(tmp_path / "out"),
    )
    rows = json.loads((tmp_path / "out" / "report.json").read_text())["methods"]
    assert {"R-ERGAS", "D_rho", "HQNR"} < set(rows["EXP"])
    # EXP follows MS and ignores PAN; Brovey does the opposite.
    assert rows["EXP"]["R-ERGAS"]["mean"] < rows["BROVEY"]["R-ERGAS"]["mean"]
    assert rows["EXP"]["D_rho"]["mean"] > rows["BROVEY"]["D_rho"]["mean"]


def _full_resolution_set(folder):
    rng = np.random.default_rng(0)
    with h5py.File(folder / "full.h5", "w") as file:
        file["pan"] = rng.integers(1, 2047, (2, 1, 128, 128))
        file["ms"] = rng.integers(1, 2047, (2, 4, 32, 32))
    return folder / "full.h5"
