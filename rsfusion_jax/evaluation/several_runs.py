"""Several runs of one method in one table: labels that differ, and statistics over the runs."""

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from rsfusion_jax.errors import UserError
from rsfusion_jax.evaluation.methods import Method
from rsfusion_jax.evaluation.score import Scores

_SUFFIXES = (".pth", ".pt", ".safetensors")
"""Suffixes of files of weights, which labels leave out."""


def distinct_labels(methods: Sequence[Method]) -> list[Method]:
    """Return the methods with labels that differ, by as much of their paths as that takes.

    Args:
        methods: the methods, in the order of the table.

    Returns:
        The same methods in the same order: "PNN" twice becomes "PNN (a)" and "PNN (b)", or
        "PNN (a/best)" and "PNN (b/best)"; methods of the same path are numbered.
    """
    labels = [method.label for method in methods]
    counts = Counter(labels)
    for label in [label for label, count in counts.items() if count > 1]:
        rows = [i for i, method in enumerate(methods) if method.label == label]
        paths = [Path(methods[i].path).absolute() if methods[i].path else Path() for i in rows]
        plain = [path.with_suffix("") if path.suffix in _SUFFIXES else path for path in paths]
        if len(set(plain)) == len(set(paths)):
            paths = plain
        depth, ends = 0, [""] * len(rows)
        while len(set(ends)) < len(set(paths)):
            depth += 1
            ends = ["/".join(path.parts[-depth:]) for path in paths]
        for row, end in zip(rows, ends, strict=True):
            inner = methods[row].base or label
            labels[row] = f"{inner} ({end})" if end else label
    taken: set[str] = set()
    for row, label in enumerate(labels):
        number, unique = 1, label
        while unique in taken:
            number += 1
            unique = f"{label} #{number}"
        labels[row] = unique
        taken.add(unique)
    return [
        dataclasses.replace(method, label=label)
        for method, label in zip(methods, labels, strict=True)
    ]


def find_families(methods: Sequence[Method]) -> dict[str, list[Method]]:
    """Group the methods that are runs of one method.

    Args:
        methods: the methods, with distinct labels.

    Returns:
        The groups of two or more by a label for the group.

    Raises:
        UserError: there is no such group.
    """
    groups: dict[str, list[Method]] = {}
    for method in methods:
        if method.family:
            groups.setdefault(method.family, []).append(method)
    families = {}
    for group in groups.values():
        if len(group) > 1:
            label = f"{group[0].base}, {len(group)} runs"
            while label in families:  # the same network with other fields or another config
                label += "'"
            families[label] = group
    if not families:
        raise UserError(
            "no two of the methods are runs of one method, which --over-runs needs: run folders "
            "whose configs differ in the seed alone, or several methods with one label, as "
            "--methods=mine=runs/a,mine=runs/b"
        )
    return families


def over_runs(families: Mapping[str, Sequence[Method]], rows: Mapping[str, Scores]) -> dict:
    """Reduce the scores of several runs to one value per run: its mean over the images.

    Args:
        families: from `find_families`.
        rows: scores by label.

    Returns:
        By label of the group, scores with one value per run in place of one per image.
    """
    result = {}
    for label, methods in families.items():
        scores = [rows[method.label] for method in methods]
        means = [score.mean() for score in scores]
        result[label] = Scores(
            {metric: np.array([mean[metric] for mean in means]) for metric in means[0]},
            sum(score.seconds for score in scores),
            sum(score.megapixels for score in scores),
        )
    return result
