"""Rows of benchmarks are merged, stamped and printed the same way by all of them."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import record

ROOT = Path(record.__file__).parents[1]
BENCHMARKS = sorted(
    f"benchmarks.{path.parent.name}.{path.stem}"
    for path in ROOT.glob("benchmarks/*/*.py")
    if "def main()" in path.read_text()
)


def merge(path, *rows):
    return record.merge(path, rows, ("method", "steps"), device="cpu")


def test_a_new_row_replaces_the_one_of_the_same_keys_and_no_other(tmp_path):
    path = tmp_path / "new folder" / "rows.json"
    merge(path, {"method": "gsa", "score": 1}, {"method": "u2net", "steps": 10, "score": 2})
    rows = merge(path, {"method": "u2net", "steps": 20, "score": 3}, {"method": "gsa", "score": 4})
    assert [(row["method"], row.get("steps"), row["score"]) for row in rows] == [
        ("u2net", 10, 2),
        ("u2net", 20, 3),
        ("gsa", None, 4),
    ]
    assert record.read(path) == rows
    assert [entry.name for entry in path.parent.iterdir()] == ["rows.json"]


def test_rows_are_sorted_where_an_order_is_given(tmp_path):
    rows = [{"method": name} for name in "bca"]
    merged = record.merge(
        tmp_path / "rows.json", rows, ("method",), order=lambda row: row["method"], device="cpu"
    )
    assert "".join(row["method"] for row in merged) == "abc"


def test_a_row_says_when_on_what_and_with_what_it_was_measured(tmp_path):
    (row,) = merge(tmp_path / "rows.json", {"method": "gsa"})
    measured = row["measured"]
    assert measured["device"] == "cpu"
    assert measured["cores"] >= 1
    assert measured["date"].count("-") == 2
    assert {"python", "jax", "numpy"} <= set(measured["versions"])
    assert "no such package" not in record.versions(["no such package"])


@pytest.mark.parametrize(
    ("argument", "recorded"),
    [
        ("--data=/home/me/images", "--data=images"),
        ("--data=../images/", "--data=images"),
        ("~/images", "images"),
        ("--weights=u2net:/a/b.pth,pnn:../c/d.pth", "--weights=u2net:b.pth,pnn:d.pth"),
        ("--out=benchmarks/results/x.json", "--out=benchmarks/results/x.json"),
        ("--networks=u2net,ddif", "--networks=u2net,ddif"),
    ],
)
def test_the_recorded_command_names_no_folder_of_this_machine(monkeypatch, argument, recorded):
    monkeypatch.setattr(sys, "argv", ["benchmark", argument])
    assert record.command().split(" ")[-1] == recorded


def test_a_table_is_markdown(tmp_path):
    assert record.table(("a", "b"), [(1, None)]) == "| a | b |\n| --- | --- |\n| 1 | - |"


def test_every_results_file_has_rows():
    for path in record.RESULTS.glob("*.json"):
        assert record.read(path), path


def test_every_benchmark_says_how_it_runs_and_which_data_it_needs():
    assert len(BENCHMARKS) >= 20
    for name in BENCHMARKS:
        doc = importlib.util.find_spec(name).loader.get_source(name).split('"""')[1]
        assert f"python -m {name}" in doc, name
        assert "Run from the clone's root. Data: " in doc, name


def test_a_benchmark_runs_as_its_docstring_says():
    command = [sys.executable, "-m", "benchmarks.speed.scene_memory", "--help"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert "python -m benchmarks.speed.scene_memory" in done.stdout
