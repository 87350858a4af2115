"""Runs side by side: groups by seed, means, deviations, paired tests, refusals."""

import csv
import json

import numpy as np
import pytest
import scipy.stats

from rsfusion_jax.cli.main import run
from rsfusion_jax.evaluation import compare

PROTOCOL = {"set": "drawn", "images": 6, "sha256": "1"}


def write_run(folder, *, seed, rate=0.1, mean=3.0, name="net", protocol=PROTOCOL, images=6):
    """A run folder as a finished run leaves it; returns the ERGAS of its images."""
    random = np.random.default_rng([seed, int(1000 * rate)])
    folder.mkdir()
    ergas = mean + 0.1 * seed + 0.5 * random.random(images)
    config = {"name": f"{name}", "seed": seed, "optim": {"learning_rate": rate}}
    config |= {"eval": {"best_metric": "ERGAS"}, "mesh": {"devices": seed}}
    (folder / "config.json").write_text(json.dumps(config))
    methods = {"EXP": {"parameters": 0}, "Net": {"parameters": 5}}
    (folder / "report.json").write_text(json.dumps({"methods": methods, "protocol": protocol}))
    with (folder / "report.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["method", "image", "SAM", "ERGAS"])
        for label, shift in (("EXP", 9), ("Net", 0)):
            writer.writerows([label, i, 1 + value, shift + value] for i, value in enumerate(ergas))
    lines = [{"step": 2, "train/loss": 1.0}]
    lines += [{"step": step, "valid/ERGAS": mean + 1 / step} for step in (2, 4)]
    text = "\n".join(map(json.dumps, lines)) + '\n{"step": 6, "valid/'
    (folder / "metrics.jsonl").write_text(text)
    return ergas


@pytest.fixture
def runs(tmp_path, monkeypatch):
    """Three seeds of one config, three of another: ERGAS by folder name."""
    monkeypatch.chdir(tmp_path)
    return {
        f"{label}{seed}": write_run(tmp_path / f"{label}{seed}", seed=seed, **options)
        for label, options in (("a", {}), ("b", {"rate": 0.2, "mean": 2.5, "name": "other"}))
        for seed in (1, 2, 3)
    }


def test_seeds_are_taken_together_and_paired(tmp_path, runs, capsys):
    run(["compare", *runs, "--plot=c.png"])
    printed = capsys.readouterr().out
    means = {name: values.mean() for name, values in runs.items()}
    a, b = ([means[f"{label}{seed}"] for seed in (1, 2, 3)] for label in "ab")
    (row,) = [line for line in printed.splitlines() if " other " in line]
    assert f"{np.mean(b):.4f}±{np.std(b, ddof=1):.4f}" in row and "3 seeds" in row
    assert f" {scipy.stats.ttest_rel(a, b).pvalue:.2g} " in row and "1, 2, 3" in row
    assert f"{np.mean(a):.4f}±{np.std(a, ddof=1):.4f}" in printed
    assert "other: optim.learning_rate 0.1 -> 0.2" in printed
    assert (tmp_path / "c.png").read_bytes().startswith(b"\x89PNG")
    groups = compare.group_runs([compare.read_run(tmp_path / name) for name in runs])
    assert groups[1].runs[3].curve == [(2, 3.0), (4, 2.75)]


def test_single_runs_are_paired_by_images(runs, capsys):
    run(["compare", "a1", "b2", "--metrics=ERGAS"])
    (row,) = [line for line in capsys.readouterr().out.splitlines() if " other " in line]
    p = scipy.stats.ttest_rel(runs["a1"], runs["b2"]).pvalue
    assert "6 images" in row and f" {p:.2g} " in row and "±" not in row
    run(["compare", "a1"])
    assert f"{runs['a1'].mean():.4f}" in capsys.readouterr().out


def test_what_is_refused(tmp_path, runs, capsys):
    write_run(tmp_path / "elsewhere", seed=4, protocol={**PROTOCOL, "sha256": "2"})
    write_run(tmp_path / "again", seed=1)
    (tmp_path / "empty").mkdir()
    write_run(tmp_path / "unscored", seed=5)
    (tmp_path / "unscored" / "report.json").unlink()
    write_run(tmp_path / "cut", seed=6)
    (tmp_path / "cut" / "report.csv").write_text("method,image,SAM\nNet,0,x\n")
    (tmp_path / "c.png").write_text("mine")
    for arguments, words in (
        (["a1", "elsewhere"], "not scored in the same way (sha256)"),
        (["a1", "again"], "a1 and again are runs of one config and seed"),
        (["empty"], "empty is no run folder"),
        (["no"], "no is no run folder"),
        (["unscored"], "unscored has no test scores"),
        (["cut"], "cut has no test scores that can be read"),
        (["a1", "--metrics=Q8"], "'Q8' is unknown; choose from SAM, ERGAS"),
        (["a1", "--plot=c.pdf"], "c.pdf must end with .png"),
        (["a1", "--plot=c.png"], "c.png exists already"),
        (["a1", "--overwrite"], "--overwrite is of --plot"),
    ):
        with pytest.raises(SystemExit) as ended:
            run(["compare", *arguments])
        said = capsys.readouterr().err
        assert ended.value.code == 2 and words in said and said.count("\n") == 1
    assert (tmp_path / "c.png").read_text() == "mine"
