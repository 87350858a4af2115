"""The comparison of runs as a picture: test scores of every run, and validation curves."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from rsfusion_jax.evaluation.compare import Group
from rsfusion_jax.evaluation.measures import LOWER_IS_BETTER
from rsfusion_jax.new_files import new_files

_DPI = 120


def draw_comparison(
    groups: Sequence[Group], metrics: Sequence[str], path: Path, overwrite: bool
) -> None:
    """Draw the test scores of every run, and the mean validation curve of every group.

    Args:
        groups: the groups of runs.
        metrics: one panel each.
        path: the new PNG.
        overwrite: whether an existing one is replaced.

    Raises:
        UserError: the picture cannot be written.
    """
    figure = Figure(figsize=(3 * (len(metrics) + 2), 3.4), layout="constrained")
    widths = [*(1 for _ in metrics), 2]
    *panels, curves = figure.subplots(1, len(metrics) + 1, width_ratios=widths)
    for metric, panel in zip(metrics, panels, strict=True):
        for place, group in enumerate(groups):
            means = group.means(metric)
            panel.plot(np.full(len(means), place), means, "o", color=f"C{place}", alpha=0.5)
            spread = means.std(ddof=1) if len(means) > 1 else 0
            panel.errorbar(place + 0.15, means.mean(), spread, fmt="_", color="black", capsize=4)
        better = "lower" if LOWER_IS_BETTER.get(metric) else "higher"
        panel.set_title(f"{metric} ({better} is better)", fontsize=9)
        panel.set_xlim(-0.5, len(groups) - 0.3)
        labels = [group.label for group in groups]
        panel.set_xticks(range(len(groups)), labels, rotation=30, ha="right", fontsize=8)
    for place, group in enumerate(groups):
        _draw_curve(curves, group, f"C{place}")
    metric = next(iter(groups[0].runs.values())).fields.get("eval.best_metric", "score")
    curves.set_title(f"validation {metric}: mean and range over runs", fontsize=9)
    curves.set_xlabel("step")
    if curves.lines:
        curves.legend(fontsize=8)
    with new_files([path], overwrite) as unfinished:
        figure.savefig(unfinished[path], dpi=_DPI)


def _draw_curve(axes, group: Group, colour: str) -> None:
    """Mean and range at the steps that all runs of a group were validated at."""
    curves = [dict(run.curve) for run in group.runs.values()]
    steps = sorted(set.intersection(*(set(curve) for curve in curves)))
    if not steps:
        return
    values = np.array([[curve[step] for step in steps] for curve in curves])
    axes.plot(steps, values.mean(axis=0), color=colour, label=f"{group.label}, {len(curves)} runs")
    axes.fill_between(steps, values.min(axis=0), values.max(axis=0), color=colour, alpha=0.2)
