"""Score methods on one data set: print a table, and write the report and pictures."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import scipy.io

from rsfusion_jax.data.source import Source
from rsfusion_jax.evaluation.measures import reduced_metrics
from rsfusion_jax.evaluation.methods import Method, classical_method, network_method
from rsfusion_jax.evaluation.pages import MOST, page_names, write_pages
from rsfusion_jax.evaluation.panels import panel, save_picture, zoom
from rsfusion_jax.evaluation.report import print_table, write_report
from rsfusion_jax.evaluation.score import BORDERS, Scores, protocol, score
from rsfusion_jax.evaluation.several_runs import over_runs
from rsfusion_jax.inference.fuser import Fuser
from rsfusion_jax.progress import ProgressBar
from rsfusion_jax.runs.processes import is_first

_CLOSING_COLUMNS = ("SAM", "ERGAS", "PSNR", "Q2n")


def leaderboard(
    methods: Iterable[Method],
    source: Source,
    folder: Path,
    *,
    batch_size: int,
    metrics: Sequence[str] | None = None,
    save_mat: bool = False,
    wrap: bool = False,
    families: Mapping[str, Sequence[Method]] | None = None,
    view: bool = False,
) -> dict[str, Scores]:
    """Score methods on a data set, print a table, and write the report and pictures to a folder.

    Args:
        methods: methods to score, with labels that differ; EXP is added in front.
        source: the data set.
        folder: folder of the files; it must exist.
        batch_size: number of images fused at once.
        metrics: columns of the printed table; all by default. The report always has all metrics.
        save_mat: whether to write every fused image in counts as a file for the MATLAB toolbox.
        wrap: whether images were and are enlarged with periodic borders.
        families: runs of one method by a label for them, for statistics over the runs.
        view: whether to write a page per image of the pictures, which the report names.

    Returns:
        The scores by label of the method.
    """
    rows_of_table = [classical_method("exp", source.info), *methods]
    methods = {method.label: method for method in rows_of_table}
    assert len(methods) == len(rows_of_table), "two methods have one label"
    files = _file_names(methods)
    rows = {}
    with ProgressBar(f"scoring on {len(source)} images", len(methods), quiet=not is_first()) as bar:
        for label, method in methods.items():
            rows[label] = score(method.fuse, source, batch_size=batch_size, wrap=wrap)
            bar.advance(note=label)
    marks = f"mean±std, * best, + second, borders {BORDERS[wrap]}"
    title = f"{source.info.name}: {len(source)} images, {marks}"
    print_table(methods, rows, title, metrics)
    runs = over_runs(families or {}, rows)
    if runs:
        members = {label: families[label][0] for label in runs}
        print_table(members, runs, "runs of one method: mean±std over the runs", metrics)
    pages = page_names(min(MOST, len(source))) if view else []
    write_report(folder, methods, rows, protocol(source, wrap=wrap), runs, pages)
    samples = [source[i] for i in range(min(MOST, len(source)))]
    rgb = source.info.sensor.rgb
    fused = {
        label: [_fuse_one(method, sample) for sample in samples]
        for label, method in methods.items()
    }
    for label, images in fused.items():
        save_picture(panel(samples, images, rgb), folder / f"panel_{files[label]}.png")
    first = {label: images[0] for label, images in fused.items()}
    save_picture(zoom(samples[0], first, rgb), folder / "zoom.png")
    if view:
        write_pages(folder, samples, fused, rows, source.info)
    if save_mat:
        for label, method in methods.items():
            _save_mat(method, source, folder / f"mat_{files[label]}")
    return rows


def closing_report(fuser: Fuser, test_set: Source, config, workdir: Path) -> None:
    """Score the best weights of a run next to EXP and classical methods, at its end.

    Args:
        fuser: the network with its best weights.
        test_set: the test set of the run.
        config: config of the run.
        workdir: the run folder, where report and pictures are written.
    """
    name = fuser.model.title
    methods = [classical_method(method, test_set.info) for method in config.eval.methods]
    leaderboard(
        [*methods, network_method(fuser, name)],
        test_set,
        workdir,
        batch_size=config.eval.batch_size,
        metrics=[m for m in _CLOSING_COLUMNS if m in reduced_metrics(test_set.info.ratio)],
    )
    print(f"run folder   {workdir}")
    print(f"picture      {workdir / f'panel_{file_name(name)}.png'}")
    print(f"TensorBoard  tensorboard --logdir {workdir}")
    print(f"next         rsfusion fuse PAN.tif MS.tif OUT.tif --weights {workdir}")


def file_name(label: str) -> str:
    """Convert a label to a part of a file name."""
    return "".join(c if c.isalnum() else "_" for c in label.lower()).strip("_")


def _file_names(labels: Iterable[str]) -> dict[str, str]:
    """Give every label a file name of its own: different labels may have the same `file_name`."""
    names: dict[str, str] = {}
    for label in labels:
        name, number = file_name(label), 1
        while name in names.values():
            number += 1
            name = f"{file_name(label)}_{number}"
        names[label] = name
    return names


def _fuse_one(method: Method, sample: dict) -> np.ndarray:
    return np.asarray(method.fuse(*(sample[key][None] for key in ("pan", "ms", "lms"))))[0]


def _save_mat(method: Method, source: Source, folder: Path) -> None:
    """Write `output_mulExm_<i>.mat` with `sr`, (H, W, C) in counts, which the toolbox evaluates."""
    folder.mkdir(exist_ok=True)
    for index in range(len(source)):
        fused = _fuse_one(method, source[index]).astype(np.float64) * source.info.max_value
        scipy.io.savemat(folder / f"output_mulExm_{index}.mat", {"sr": fused})
