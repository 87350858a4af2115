"""Scoring methods on one set: the table on the screen, report.json and a picture."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from rsfusion_jax.data.source import Source
from rsfusion_jax.evaluation.methods import classical_method
from rsfusion_jax.evaluation.panels import panel, save_picture
from rsfusion_jax.evaluation.report import print_table, write_report
from rsfusion_jax.evaluation.score import FuseUnit, Scores, protocol, score
from rsfusion_jax.inference.fuser import Fuser

_PICTURES = 3
_COLUMNS = ("SAM", "ERGAS", "PSNR", "Q2n")


def leaderboard(
    methods: Mapping[str, FuseUnit],
    source: Source,
    folder: Path,
    *,
    batch_size: int,
    columns: tuple[str, ...] = _COLUMNS,
) -> dict[str, Scores]:
    """Scores methods on a set and leaves report.json and one picture per method in a folder.

    Args:
        methods: by label; EXP is put in front.
        source: a set with reference.
        folder: where the files go; must exist.
        batch_size: images fused at once.
        columns: metrics of the printed table; the report has all.
    """
    methods = {"EXP": classical_method("exp", source.info), **methods}
    rows = {label: score(fuse, source, batch_size=batch_size) for label, fuse in methods.items()}
    title = f"{source.info.name}: {len(source)} images, mean±std, * best"
    print_table(rows, title, columns)
    write_report(folder / "report.json", rows, protocol(source.info, len(source)))
    samples = [source[i] for i in range(min(_PICTURES, len(source)))]
    for label, fuse in methods.items():
        fused = [
            np.asarray(fuse(*(sample[key][None] for key in ("pan", "ms", "lms"))))[0]
            for sample in samples
        ]
        save_picture(panel(samples, fused, source.info.sensor.rgb), folder / _file_name(label))
    return rows


def closing_report(fuser: Fuser, test_set: Source, config, workdir: Path) -> None:
    """The end of a training run: its best weights beside EXP and the classical methods."""
    name = type(fuser.model).__name__
    methods = {
        method.upper().replace("_", "-"): classical_method(method, test_set.info)
        for method in config.eval.methods
    }
    methods[name] = fuser.fuse_unit
    leaderboard(methods, test_set, workdir, batch_size=config.eval.batch_size)
    print(f"run folder   {workdir}")
    print(f"picture      {workdir / _file_name(name)}")
    print(f"TensorBoard  tensorboard --logdir {workdir}")


def _file_name(label: str) -> str:
    kept = "".join(c if c.isalnum() else "_" for c in label.lower())
    return f"panel_{kept.strip('_')}.png"
