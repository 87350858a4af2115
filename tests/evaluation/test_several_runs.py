"""Several runs of one method in one table: no row vanishes, and statistics over the runs."""

import json

import h5py
import jax
import numpy as np
import pytest

import rsfusion_jax as rsf
from rsfusion_jax.data.source import SetInfo
from rsfusion_jax.evaluation import evaluate as module
from rsfusion_jax.evaluation.leaderboard import _file_names
from rsfusion_jax.evaluation.methods import Method, find_method
from rsfusion_jax.evaluation.report import write_report
from rsfusion_jax.evaluation.score import Scores
from rsfusion_jax.evaluation.several_runs import distinct_labels, find_families, over_runs
from rsfusion_jax.evaluation.specs import Spec, parse_spec, split_specs
from rsfusion_jax.models import init_params
from rsfusion_jax.runs.card import network_card
from rsfusion_jax.runs.checkpoint import Checkpoints


def _method(label, path="", base="", family=""):
    return Method(label, lambda pan, ms, lms: lms, 9, path, base, family)


def _labels(*methods):
    return [method.label for method in distinct_labels(methods)]


def test_labels_differ_by_as_much_of_the_path_as_that_takes():
    pnn = [_method("PNN", path, "PNN") for path in ("w/a.pth", "w/b.pth", "v/b.pth")]
    assert _labels(_method("EXP"), *pnn[:2]) == ["EXP", "PNN (a)", "PNN (b)"]
    assert _labels(*pnn) == ["PNN (w/a)", "PNN (w/b)", "PNN (v/b)"]
    runs = [_method("RSANet (1)", f"{name}/best/1", "RSANet") for name in "xy"]
    assert _labels(*runs) == ["RSANet (x/best/1)", "RSANet (y/best/1)"]
    assert _labels(pnn[0], pnn[0], _method("GSA"), _method("GSA")) == [
        *("PNN", "PNN #2", "GSA", "GSA #2"),
    ]
    twins = [_method("PNN", path, "PNN") for path in ("/w/a.pth", "/w/a.pt")]
    assert _labels(*twins) == ["PNN (a.pth)", "PNN (a.pt)"]
    assert _labels(pnn[0], _method("GSA")) == ["PNN", "GSA"]
    assert _file_names(["A (b)", "a_b", "c"]) == {"A (b)": "a__b", "a_b": "a_b", "c": "c"}
    assert len(set(_file_names(["A-b", "A_b", "a.b"]).values())) == 3


def test_methods_are_split_at_commas_outside_of_paths(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("lr=1,wd=2", "plain", "a,b.pth"):
        (tmp_path / name).mkdir()
    text = "gsa, lr=1,wd=2,mine=~/plain,pnn:~/a,b.pth,theirs=drpnn:~/a,b.pth,exp,"
    specs = split_specs(text)
    assert specs == [
        *("gsa", "lr=1,wd=2", "mine=~/plain", "pnn:~/a,b.pth", "theirs=drpnn:~/a,b.pth", "exp"),
    ]
    parsed = [parse_spec(spec) for spec in specs]
    assert parsed[1] == Spec("", "", "lr=1,wd=2")
    assert parsed[2] == Spec("mine", "", "~/plain") and parsed[2].path == tmp_path / "plain"
    assert parsed[4] == Spec("theirs", "drpnn", "~/a,b.pth")
    assert len(split_specs(",".join(["bdsd_pc"] * 60))) == 60  # too long for the name of a file


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Three run folders of PNN: two seeds of one config, and another config."""
    folder = tmp_path_factory.mktemp("runs")
    for name, seed, rate in (("s4", 4, 0.1), ("s9", 9, 0.1), ("fast", 4, 0.7)):
        model = rsf.create_model("pnn", num_bands=4)
        card = network_card(
            model, {"name": "pnn"}, sensor=rsf.get_sensor("qb"), max_value=2047, ms_phase=2
        )
        config = {"name": name, "seed": seed, "optim": {"learning_rate": rate}}
        checkpoints = Checkpoints(folder / name)
        params = init_params(model, jax.random.key(seed))
        checkpoints.save_best(0, params, {**card, "config": config, "version": "0"}, {})
        checkpoints.close()
    return folder


def test_every_run_gets_a_row(runs, tmp_path, monkeypatch):
    rng = np.random.default_rng(2)
    with h5py.File(tmp_path / "set.h5", "w") as file:
        file["gt"] = rng.integers(0, 2000, (2, 4, 16, 16)).astype(np.uint16)
        file["ms"] = file["gt"][:, :, 2::4, 2::4]
        file["pan"] = file["gt"][:, :1]
    calls = []
    monkeypatch.setattr(
        module, "leaderboard", lambda methods, *args, **options: calls.append((methods, options))
    )
    common = {"sensor": "qb", "max_value": 2047, "ratio": None, "batch_size": 1}
    common |= {"workdir": None, "data": str(tmp_path / "set.h5"), "out": str(tmp_path / "out")}
    methods = [str(runs / name) for name in ("s4", "s9", "fast")]
    module.evaluate(**common, methods=[*methods, "own=gsa"], over_runs=True)
    rows, options = calls.pop()
    assert [m.label for m in rows] == ["PNN (s4)", "PNN (s9)", "PNN (fast)", "own"]
    (family,) = options["families"].items()  # the third has another learning rate
    assert family[0] == "PNN, 2 runs" and [m.label for m in family[1]] == ["PNN (s4)", "PNN (s9)"]
    module.evaluate(**common, methods=[f"mine={path}" for path in methods], over_runs=True)
    rows, options = calls.pop()
    assert [m.label for m in rows] == ["mine (s4)", "mine (s9)", "mine (fast)"]
    assert list(options["families"]) == ["mine, 3 runs"]
    with pytest.raises(rsf.UserError, match="no two of the methods are runs of one method"):
        module.evaluate(**common, methods=["gsa", methods[0]], over_runs=True)


def test_statistics_over_runs(tmp_path, capsys):
    methods = [_method(f"PNN ({n})", f"p/{n}", "PNN", "f") for n in "abc"] + [_method("GSA")]
    values = ([1.0, 3.0], [2.0, 6.0], [4.0, 5.0], [0.0, 0.0])
    rows = {
        method.label: Scores({"SAM": np.array(value)}, 1.0, 2.0)
        for method, value in zip(methods, values, strict=True)
    }
    runs = over_runs(find_families(methods), rows)
    write_report(tmp_path, {m.label: m for m in methods}, rows, {}, runs)
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["methods"]["PNN (b)"]["path"] == "p/b" and "path" not in report["methods"]["GSA"]
    (label,) = report["over_runs"]
    means = [2.0, 4.0, 4.5]
    assert label == "PNN, 3 runs" and report["over_runs"][label]["runs"] == 3
    assert np.isclose(report["over_runs"][label]["SAM"]["mean"], np.mean(means))
    assert np.isclose(report["over_runs"][label]["SAM"]["std"], np.std(means, ddof=1))
    tex = (tmp_path / "report.tex").read_text()
    assert tex.count(r"\begin{tabular}") == 2 and r"PNN, 3 runs & 3.5000 $\pm$ 1.3229" in tex


def test_classical_method_with_a_label():
    info = SetInfo("set", rsf.get_sensor("qb"), 4, 1, 4, 2047.0, 2.0, True)
    assert find_method("smooth=mtf_glp", info).label == "smooth"
    with pytest.raises(rsf.UserError, match="method 'mtfglp' is neither"):
        find_method("smooth=mtfglp", info)
