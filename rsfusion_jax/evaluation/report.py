"""A report: one row per method, on the screen and as JSON."""

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from rsfusion_jax.evaluation.score import LOWER_IS_BETTER, Scores


def print_table(
    rows: Mapping[str, Scores], title: str, columns: tuple[str, ...] = tuple(LOWER_IS_BETTER)
) -> None:
    """Prints mean and standard deviation per metric; the best value of a column is starred.

    Args:
        rows: scores by method, in the order of the table.
        title: what was scored.
        columns: metrics to show.
    """
    table = Table(title=title, title_justify="left")
    table.add_column("method", no_wrap=True)
    means = {method: scores.mean() for method, scores in rows.items()}
    best = {}
    for name in columns:
        choose = min if LOWER_IS_BETTER[name] else max
        best[name] = choose(values[name] for values in means.values())
        table.add_column(f"{name} {'↓' if LOWER_IS_BETTER[name] else '↑'}", justify="right")
    for method, scores in rows.items():
        cells = []
        for name in columns:
            star = "*" if len(rows) > 1 and means[method][name] == best[name] else " "
            summary = scores.summary()[name]
            cells.append(f"{summary['mean']:.3f}±{summary['std']:.3f}{star}")
        table.add_row(method, *cells)
    # Piped output must not be folded to the width of a terminal that is not there.
    console = Console()
    if not console.is_terminal:
        console = Console(width=160)
    console.print(table)


def write_report(path: Path, rows: Mapping[str, Scores], protocol: dict) -> None:
    """Writes {"methods": {method: {metric: {mean, std}}}, "protocol": {..}} in one move."""
    report = {
        "methods": {
            method: {**scores.summary(), "seconds": round(scores.seconds, 4)}
            for method, scores in rows.items()
        },
        "protocol": protocol,
    }
    unfinished = path.with_suffix(".tmp")
    unfinished.write_text(json.dumps(_finite(report), indent=1) + "\n")
    unfinished.replace(path)


def _finite(value):
    """JSON has no infinity (PSNR of identical images) and no NaN: null stands for both."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    return None if isinstance(value, float) and not np.isfinite(value) else value
