"""Print scores as a table and write them as JSON, CSV and LaTeX."""

import csv
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from rsfusion_jax.evaluation.measures import LOWER_IS_BETTER
from rsfusion_jax.evaluation.methods import Method
from rsfusion_jax.evaluation.score import Scores
from rsfusion_jax.new_files import new_files

_ESCAPED = r"\\\g<0>"
"""Replacement that puts a backslash before a character with a meaning in LaTeX."""

_MARKS = {0: "*", 1: "+"}

REPORT = "report.json"
"""File name of the report."""


def ranks(rows: Mapping[str, Scores], metric: str) -> dict[str, int]:
    """Rank the methods by their mean of a metric, 0 for the best; equal means share a rank."""
    means = {label: scores.mean()[metric] for label, scores in rows.items()}
    order = sorted(set(means.values()), reverse=not LOWER_IS_BETTER[metric])
    return {label: order.index(value) for label, value in means.items()}


def print_table(
    methods: Mapping[str, Method],
    rows: Mapping[str, Scores],
    title: str,
    metrics: Sequence[str] | None = None,
) -> None:
    """Print mean and standard deviation over the images; * marks the best, + the second.

    Args:
        methods: the methods by label.
        rows: their scores by label, in the order of the table.
        title: title of the table, such as the data set.
        metrics: columns to print; all by default.
    """
    metrics = metrics or _metrics(rows)
    table = Table(title=title, title_justify="left")
    table.add_column("method", no_wrap=True)
    for metric in metrics:
        table.add_column(f"{metric} {'↓' if LOWER_IS_BETTER[metric] else '↑'}", justify="right")
    table.add_column("parameters", justify="right")
    table.add_column("s/MP", justify="right")
    places = {metric: ranks(rows, metric) for metric in metrics}
    for label, scores in rows.items():
        summary = scores.summary()
        cells = [
            f"{summary[metric]['mean']:.3f}"
            + (f"±{summary[metric]['std']:.3f}" if len(scores.values[metric]) > 1 else "")
            + (_MARKS.get(places[metric][label], " ") if len(rows) > 1 else "")
            for metric in metrics
        ]
        count = f"{methods[label].parameters:,}" if methods[label].parameters else "-"
        table.add_row(escape(label), *cells, count, f"{scores.seconds / scores.megapixels:.2f}")
    # Output to a pipe or file must not be wrapped to the assumed width of a terminal.
    console = Console()
    if not console.is_terminal:
        console = Console(width=200)
    console.print(table)


def write_report(
    folder: Path,
    methods: Mapping[str, Method],
    rows: Mapping[str, Scores],
    protocol: dict,
    runs: Mapping[str, Scores] | None = None,
    pages: Sequence[str] = (),
) -> None:
    """Write report.json, report.csv and report.tex.

    The JSON is {"methods": {label: {metric: {"mean", "std"}, ..., "parameters",
    "seconds_per_megapixel"}}, "protocol": {...}}; networks also have the "path" of their weights.
    With `runs` there is "over_runs": {label: {metric: {"mean", "std"}, ..., "runs": number}}, and
    a second table in the LaTeX file; with `pages` there is "pages": [name, ...].

    Args:
        folder: folder of the files.
        methods: the methods by label.
        rows: their scores by label.
        protocol: from `score.protocol`.
        runs: statistics over several runs of one method, from `several_runs.over_runs`.
        pages: names of the pages of `rsfusion evaluate --view` in the folder.
    """
    report = {
        "methods": {
            label: {
                **scores.summary(),
                "parameters": methods[label].parameters,
                "seconds_per_megapixel": round(scores.seconds / scores.megapixels, 4),
                **({"path": methods[label].path} if methods[label].path else {}),
            }
            for label, scores in rows.items()
        },
        "protocol": protocol,
    }
    if runs:
        report["over_runs"] = {
            label: {**scores.summary(), "runs": len(next(iter(scores.values.values())))}
            for label, scores in runs.items()
        }
    if pages:
        report["pages"] = list(pages)
    paths = [folder / name for name in (REPORT, "report.csv", "report.tex")]
    with new_files(paths, overwrite=True) as unfinished:
        unfinished[paths[0]].write_text(json.dumps(_finite(report), indent=1) + "\n")
        _write_csv(unfinished[paths[1]], rows)
        unfinished[paths[2]].write_text(_latex(rows) + (_latex(runs) if runs else ""))


def _write_csv(path: Path, rows: Mapping[str, Scores]) -> None:
    """Write one line per method and image, from which any statistic can be computed."""
    metrics = _metrics(rows)
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["method", "image", *metrics])
        for label, scores in rows.items():
            for image, values in enumerate(zip(*(scores.values[m] for m in metrics), strict=True)):
                writer.writerow([label, image, *(f"{value:.8g}" for value in values)])


def _latex(rows: Mapping[str, Scores]) -> str:
    """Format a booktabs table: best bold, second underlined."""
    metrics = _metrics(rows)
    arrows = (rf"{m} ${chr(92)}{'down' if LOWER_IS_BETTER[m] else 'up'}arrow$" for m in metrics)
    lines = [
        rf"\begin{{tabular}}{{l{'c' * len(metrics)}}}",
        r"\toprule",
        f"Method & {' & '.join(arrows)} " + r"\\",
        r"\midrule",
    ]
    places = {metric: ranks(rows, metric) for metric in metrics}
    styles = {0: r"\textbf{%s}", 1: r"\underline{%s}"}
    for label, scores in rows.items():
        summary = scores.summary()
        cells = []
        for metric in metrics:
            value = f"{summary[metric]['mean']:.4f}"
            style = styles.get(places[metric][label], "%s") if len(rows) > 1 else "%s"
            cells.append(style % value + rf" $\pm$ {summary[metric]['std']:.4f}")
        lines.append(f"{re.sub('[_%&#$]', _ESCAPED, label)} & {' & '.join(cells)} " + r"\\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", ""])


def _metrics(rows: Mapping[str, Scores]) -> tuple[str, ...]:
    """Return the names of the metrics in the scores."""
    return tuple(next(iter(rows.values())).values)


def _finite(value):
    """Replace infinity (PSNR of identical images) and NaN, which JSON does not have, by null."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    return None if isinstance(value, float) and not np.isfinite(value) else value
