"""Finished runs side by side: scores over seeds, and paired tests between groups of runs."""

import csv
import dataclasses
import itertools
import json
import warnings
from collections.abc import Sequence
from pathlib import Path

import flax.traverse_util
import numpy as np
import scipy.stats
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from rsfusion_jax.errors import UserError
from rsfusion_jax.evaluation.measures import LOWER_IS_BETTER
from rsfusion_jax.evaluation.report import REPORT
from rsfusion_jax.runs.stored_json import BadJSONError, read_object

_COLUMNS = ("SAM", "ERGAS", "PSNR", "Q2n")
_OTHERWISE_EQUAL = ("seed", "name", "data.workers", "train.trackers")
_MESH = "mesh."
"""Fields in which runs of one group may differ."""
_SHOWN_FIELDS = 4


@dataclasses.dataclass(frozen=True)
class Run:
    """What a run folder holds of a finished run.

    Attributes:
        folder: the run folder.
        fields: fields of its config, by "group.name".
        scores: by metric, one value per test image.
        protocol: how the test set was scored.
        curve: (step, score) of every validation, by `eval.best_metric`.
    """

    folder: Path
    fields: dict
    scores: dict[str, np.ndarray]
    protocol: dict
    curve: list[tuple[int, float]]

    @property
    def setting(self) -> dict:
        """The fields in which runs of one group agree."""
        return {
            name: value
            for name, value in self.fields.items()
            if name not in _OTHERWISE_EQUAL and not name.startswith(_MESH)
        }

    def mean(self, metric: str) -> float:
        """Return the mean of a metric over the images that have it."""
        values = self.scores[metric]
        return float(np.mean(values[~np.isnan(values)]))


@dataclasses.dataclass(frozen=True)
class Group:
    """Runs that differ in their seeds alone.

    Attributes:
        label: name of the group in tables.
        runs: the runs, by seed.
    """

    label: str
    runs: dict[int, Run]

    def means(self, metric: str) -> np.ndarray:
        """Return the mean over the images of every run."""
        return np.array([run.mean(metric) for run in self.runs.values()])


def read_run(folder: Path) -> Run:
    """Read what a run folder holds.

    Raises:
        UserError: it is no run folder, its run is not finished, or was not scored on a test set.
    """
    config = _read(folder / "config.json", f"{folder} is no run folder", "name a run folder")
    unfinished = f"the run in {folder} has no test scores"
    advice = "finish it with rsfusion train, with a data.test"
    report = _read(folder / REPORT, unfinished, advice)
    networks = [
        label
        for label, row in report.get("methods", {}).items()
        if isinstance(row, dict) and row.get("parameters")
    ]
    scores: dict[str, list[float]] = {}
    try:
        with (folder / "report.csv").open(newline="") as file:
            for row in csv.DictReader(file):
                if row.pop("method") == networks[0]:
                    del row["image"]
                    for metric, value in row.items():
                        scores.setdefault(metric, []).append(float(value))
    except (OSError, KeyError, IndexError, TypeError, ValueError) as error:
        raise UserError(f"{unfinished} that can be read ({error!r}); {advice}") from error
    if not scores:
        raise UserError(f"{unfinished}; {advice}")
    fields = flax.traverse_util.flatten_dict(config, sep=".")
    curve = _curve(folder / "metrics.jsonl", f"valid/{fields.get('eval.best_metric')}")
    values = {metric: np.array(column) for metric, column in scores.items()}
    return Run(folder, fields, values, report.get("protocol", {}), curve)


def group_runs(runs: Sequence[Run]) -> list[Group]:
    """Put runs together whose configs differ in the seed alone, in the order they are named.

    Raises:
        UserError: one is named twice, two are of one config and seed, or they were scored on
            different test sets.
    """
    first = runs[0]
    gathered: dict[str, dict[int, Run]] = {}
    for run in runs:
        differing = sorted(
            name
            for name in first.protocol.keys() | run.protocol.keys()
            if first.protocol.get(name) != run.protocol.get(name)
        )
        if differing:
            raise UserError(
                f"{first.folder} and {run.folder} were not scored in the same way ("
                f"{', '.join(differing)}); score them on one set with rsfusion evaluate"
            )
        key = json.dumps(run.setting, sort_keys=True, default=str)
        seeds = gathered.setdefault(key, {})
        seed = run.fields.get("seed")
        if seed in seeds:
            raise UserError(
                f"{seeds[seed].folder} and {run.folder} are runs of one config and seed; name one"
            )
        seeds[seed] = run
    groups, taken = [], set()
    for seeds in gathered.values():
        run = next(iter(seeds.values()))
        name = str(run.fields.get("name") or run.fields.get("model.name"))
        labels = itertools.chain([name], (f"{name} #{number}" for number in itertools.count(2)))
        label = next(one for one in labels if one not in taken)
        taken.add(label)
        groups.append(Group(label, dict(sorted(seeds.items(), key=str))))
    return groups


def choose_metrics(groups: Sequence[Group], wanted: Sequence[str] | None) -> list[str]:
    """Return the metrics to show.

    Raises:
        UserError: one that the runs do not have.
    """
    known = [
        metric
        for metric in next(iter(groups[0].runs.values())).scores
        if all(metric in run.scores for group in groups for run in group.runs.values())
    ]
    for metric in wanted or ():
        if metric not in known:
            raise UserError(f"--metrics: {metric!r} is unknown; choose from {', '.join(known)}")
    return list(wanted or [m for m in known if m in _COLUMNS] or known[:4])


def paired_test(base: Group, other: Group, metric: str) -> tuple[float, int, str]:
    """Compare two groups by a paired t test.

    Where they share at least two seeds, runs of one seed are pairs: this tells whether another
    training would give the same order. Else the test images are pairs, each with its mean over the
    runs: this tells about these very weights only.

    Returns:
        The two-sided p value, NaN where it cannot be computed; the number of pairs; and what was
        paired, "seeds" or "images".
    """
    shared = [seed for seed in base.runs if seed in other.runs]
    if len(shared) > 1:
        pairs = [[group.runs[seed].mean(metric) for seed in shared] for group in (base, other)]
        what = "seeds"
    else:
        pairs = [
            np.mean([run.scores[metric] for run in group.runs.values()], axis=0)
            for group in (base, other)
        ]
        kept = ~np.isnan(pairs[0]) & ~np.isnan(pairs[1])
        pairs, what = [values[kept] for values in pairs], "images"
    if len(pairs[0]) < 2 or np.array_equal(*pairs):
        return float("nan"), len(pairs[0]), what
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # differences that are all the same
        return float(scipy.stats.ttest_rel(*pairs).pvalue), len(pairs[0]), what


def print_comparison(groups: Sequence[Group], metrics: Sequence[str]) -> None:
    """Print a line for every group: mean and deviation over its runs, and p of the paired test."""
    first = next(iter(groups[0].runs.values()))
    title = f"{first.protocol.get('set', 'test set')}: mean±std over runs; p: paired t test "
    table = Table(title=title + f"against {escape(groups[0].label)}", title_justify="left")
    table.add_column("runs of", no_wrap=True)
    table.add_column("seeds")
    for metric in metrics:
        arrow = "↓" if LOWER_IS_BETTER.get(metric) else "↑"
        table.add_column(f"{metric} {arrow}", justify="right")
        if len(groups) > 1:
            table.add_column("p", justify="right")
    if len(groups) > 1:
        table.add_column("pairs", justify="right")
    for group in groups:
        cells, pairs = [], "-"
        for metric in metrics:
            means = group.means(metric)
            spread = f"±{means.std(ddof=1):.4f}" if len(means) > 1 else ""
            cells.append(f"{means.mean():.4f}{spread}")
            if group is not groups[0]:
                p, count, what = paired_test(groups[0], group, metric)
                pairs = f"{count} {what}"
                cells.append("-" if np.isnan(p) else f"{p:.2g}")
            elif len(groups) > 1:
                cells.append("-")
        last = [pairs] if len(groups) > 1 else []
        table.add_row(escape(group.label), ", ".join(map(str, group.runs)), *cells, *last)
    console = Console()
    if not console.is_terminal:
        console = Console(width=200)  # a pipe or a file has no width to wrap to
    console.print(table)
    for group in groups[1:]:
        other = next(iter(group.runs.values())).setting
        differing = [
            f"{name} {first.setting.get(name)!r} -> {other.get(name)!r}"
            for name in sorted(first.setting.keys() | other.keys())
            if first.setting.get(name) != other.get(name)
        ]
        more = f" and {len(differing) - _SHOWN_FIELDS} more" * (len(differing) > _SHOWN_FIELDS)
        console.print(
            f"{group.label}: {'; '.join(differing[:_SHOWN_FIELDS])}{more}",
            highlight=False,
            markup=False,
        )


def _read(path: Path, problem: str, advice: str) -> dict:
    try:
        return read_object(path.read_bytes())
    except (OSError, BadJSONError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"{problem} ({path.name}: {reason}); {advice}") from error


def _curve(path: Path, name: str) -> list[tuple[int, float]]:
    """The validations in metrics.jsonl; none where the file is not there."""
    curve = []
    for line in path.read_bytes().splitlines() if path.is_file() else ():
        try:
            entry = read_object(line, {"step": int, name: (int, float)})
        except BadJSONError:
            continue  # of a training step, or the incomplete last line of a killed run
        curve.append((entry["step"], float(entry[name])))
    return curve
