"""Score several methods on one data set, such as the test set of a training run."""

import datetime
from collections.abc import Sequence
from pathlib import Path

import ml_collections

from rsfusion_jax.data.source import Source
from rsfusion_jax.errors import UserError
from rsfusion_jax.evaluation.leaderboard import leaderboard
from rsfusion_jax.evaluation.methods import Method, classical_method, find_method
from rsfusion_jax.evaluation.pages import check_pages, page_names
from rsfusion_jax.evaluation.report import REPORT
from rsfusion_jax.evaluation.several_runs import distinct_labels, find_families
from rsfusion_jax.evaluation.specs import expand, parse_spec
from rsfusion_jax.inference.pretrained import folder_of, is_pretrained, read_config
from rsfusion_jax.runs.checkpoint import LATEST

_MOST_AT_ONCE = 2**16
"""Images at most that are fused at once; more fit into no memory."""


def evaluate(
    *,
    workdir: str | None,
    methods: Sequence[str],
    data: str | None,
    sensor: str | None,
    max_value: float | None,
    ratio: int | None,
    batch_size: int,
    out: str | None,
    save_mat: bool = False,
    view: bool = False,
    over_runs: bool = False,
    axes: str | None = None,
    wrap: bool = False,
    key: str | None = None,
) -> None:
    """Score methods on a data set, print all metrics, and write a report and pictures.

    Args:
        workdir: run folder or checkpoint to score; None for none.
        methods: run folders, `network:file.pth` and classical methods to score, each with a label
            of its own in front where one is wanted: `label=runs/a`.
        data: data set to score on, or a folder of `.h5` and `.mat` scenes; None for the test set
            of the first run.
        sensor: name of the sensor of `data`; None for that of the first run.
        max_value: full scale of `data`; None for the one that it states.
        ratio: PAN pixels per MS pixel; None for the sensor's.
        batch_size: images fused at once.
        out: folder of the report; None for a new one, `evaluations/<date>` in the run folder.
        save_mat: whether to write the fused images as MATLAB files too.
        view: whether to write a page per image of the pictures, to look at in a browser.
        over_runs: whether to print and report mean and standard deviation over the runs of one
            method too.
        axes: order of the axes of `data`, such as "NCHW"; None for the one that fits.
        wrap: whether images are enlarged with the periodic borders of the MATLAB toolbox: `lms`
            where `data` does not store it, and inside classical methods and metrics.
        key: entry of every `file.pth` that holds the weights; see `load_torch`.

    Raises:
        UserError: there is no method or no data set, or `out` already has a report or pages.
    """
    workdir = str(expand(workdir)) if workdir else None
    out = str(expand(out)) if out else None
    if not 1 <= batch_size <= _MOST_AT_ONCE:
        raise UserError(f"--batch-size={batch_size} must lie in 1..{_MOST_AT_ONCE}")
    source, scored = choose(
        workdir=workdir,
        methods=methods,
        data=data,
        sensor=sensor,
        max_value=max_value,
        ratio=ratio,
        axes=axes,
        wrap=wrap,
        key=key,
    )
    if out and (Path(out) / REPORT).exists():
        raise UserError(f"{out} holds the report of an earlier evaluation; name another")
    if out and view:
        check_pages(Path(out))
    families = find_families(scored) if over_runs else {}
    folder = Path(out) if out else _dated_folder(workdir)
    try:
        folder.mkdir(parents=True, exist_ok=bool(out))
    except OSError as error:
        raise UserError(
            f"{folder} cannot be made ({error.strerror}); name another --out"
        ) from error
    leaderboard(
        scored,
        source,
        folder,
        batch_size=batch_size,
        save_mat=save_mat,
        wrap=wrap,
        families=families,
        view=view,
    )
    print(f"report and pictures in {folder}")
    if view:
        print(f"open {folder / page_names(1)[0]} in a browser")


def choose(
    *,
    workdir: str | None,
    methods: Sequence[str],
    data: str | None,
    sensor: str | None = None,
    max_value: float | None = None,
    ratio: int | None = None,
    axes: str | None = None,
    wrap: bool = False,
    key: str | None = None,
) -> tuple[Source, list[Method]]:
    """Find the methods and the data set that a command names; the arguments are `evaluate`'s.

    Returns:
        The set, and the methods without EXP, with labels that differ from each other.

    Raises:
        UserError: there is no method or no data set, or they do not fit.
    """
    workdir, data = (str(expand(path)) if path else None for path in (workdir, data))
    specs = ([workdir] if workdir else []) + list(methods)
    if not specs:
        raise UserError(
            "nothing to score; give --workdir=RUN or --methods=RUN,network:file.pth,gsa"
        )
    if key is not None and not any(parse_spec(spec).network for spec in specs):
        raise UserError(f"--key={key} is of network:file.pth in --methods; leave it out")
    of_data = {"sensor": sensor, "max-value": max_value, "ratio": ratio, "axes": axes}
    for name, value in of_data.items():
        if value is not None and not data:
            raise UserError(
                f"--{name}={value} is of --data, not of a run's own test set; give both"
            )
    card = _first_card(specs, workdir)
    if data:
        source = _open(data, sensor, max_value, ratio, axes, wrap, card)
    elif wrap:
        raise UserError("--wrap enlarges the images of a file; name it as --data")
    elif card and "config" in card:
        source = _own_test_set(card)
    else:
        raise UserError("no data set to score on; give --data=FILE and --sensor=NAME")
    options = {"wrap": wrap, "key": key}
    scored = [find_method(spec, source.info, **options) for spec in specs if spec != "exp"]
    reference = classical_method("exp", source.info)
    return source, distinct_labels([reference, *scored])[1:]


def _dated_folder(workdir: str | None) -> Path:
    """Name the folder of a report by the date, in the run folder where there is one."""
    # Only run folders get an `evaluations` folder; a checkpoint's folder is not changed.
    is_run = workdir is not None and (Path(workdir) / LATEST).is_dir()
    # To the microsecond: two evaluations may begin in one second.
    date = datetime.datetime.now().strftime("%Y-%m-%d_%H%M%S_%f")
    return Path(workdir if is_run else ".") / "evaluations" / date


def _first_card(specs: Sequence[str], workdir: str | None) -> dict | None:
    """Return the card of the first spec that has weights and a card, or None."""
    from rsfusion_jax.runs.checkpoint import find_checkpoint, read_card

    for spec in specs:
        path = parse_spec(spec).path
        if is_pretrained(path):
            return read_config(folder_of(path))
        if path.is_dir() or spec == workdir:
            return read_card(find_checkpoint(path))
    return None


def _open(data, sensor, max_value, ratio, axes, wrap, card) -> Source:
    from rsfusion_jax.data.stored.pancollection import open_set
    from rsfusion_jax.data.stored.scene_folder import is_scene_folder, open_scenes

    is_folder = Path(data).is_dir()
    if is_folder and not is_scene_folder(data):
        of_sets = {"wrap": wrap, "sensor": sensor, "max-value": max_value, "axes": axes}
        for name, value in of_sets.items():
            if value:
                raise UserError(f"--{name} is for .h5 and .mat sets, not for {data}; leave it out")
        return _open_folder(data, ratio, card)
    scale = card["scale"] if card else {}
    sensor = sensor or scale.get("sensor")
    if sensor is None:
        raise UserError(f"the sensor of {data} is not known; give --sensor=NAME")
    return (open_scenes if is_folder else open_set)(
        data,
        sensor=sensor,
        ratio=ratio or (card["network"]["ratio"] if card else None),
        max_value=max_value,
        usual_max_value=scale.get("max_value"),
        axes=axes,
        wrap=wrap,
    )


def _open_folder(data, ratio, card) -> Source:
    """Open the test split of a SEN12MS-CR folder, with the options of the run if there is one."""
    from rsfusion_jax.data.configured import open_folder
    from rsfusion_jax.data.sen12ms_cr import open_sen12ms_cr

    if card is None or "config" not in card:
        return open_sen12ms_cr(data, split="test", ratio=ratio)
    config = ml_collections.ConfigDict(card["config"])
    ratio = ratio or card["network"]["ratio"]
    return open_folder(data, "test", config.seed, ratio, config.data.sen12ms_cr)


def _own_test_set(card: dict) -> Source:
    from rsfusion_jax.data.configured import open_split

    config = ml_collections.ConfigDict(card["config"])
    source = open_split(config.data, "test", config.seed)
    if source is None:
        raise UserError("the config of this run has no test set; give --data=FILE")
    return source
