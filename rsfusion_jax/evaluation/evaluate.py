"""Scores of several methods on one data set, which may be a run's own test set."""

from collections.abc import Sequence
from pathlib import Path

import ml_collections

from rsfusion_jax.data.source import Source
from rsfusion_jax.errors import UserError
from rsfusion_jax.evaluation.leaderboard import leaderboard
from rsfusion_jax.evaluation.methods import find_method


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
) -> None:
    """Scores methods on one set; prints all metrics and leaves report.json and pictures.

    Raises:
        UserError: nothing to score or nothing to score it on.
    """
    specs = ([workdir] if workdir else []) + list(methods)
    if not specs:
        raise UserError(
            "nothing to score; give --workdir=RUN or --methods=RUN,network:file.pth,gsa"
        )
    if batch_size < 1:
        raise UserError(f"--batch-size={batch_size} must be at least 1")
    card = _first_card(specs, workdir)
    if data:
        source = _open(data, sensor, max_value, ratio, card)
    elif card and "config" in card:
        source = _own_test_set(card)
    else:
        raise UserError("no set to score on; give --data=FILE and --sensor=NAME")
    found = [find_method(spec, source.info) for spec in specs if spec != "exp"]
    folder = Path(out or workdir or "evaluation")
    folder.mkdir(parents=True, exist_ok=True)
    leaderboard(found, source, folder, batch_size=batch_size, save_mat=save_mat)
    print(f"report and pictures in {folder}")


def _first_card(specs: Sequence[str], workdir: str | None) -> dict | None:
    """The card of the first spec that is a run folder or checkpoint."""
    from rsfusion_jax.runs.checkpoint import find_checkpoint, read_card

    for spec in specs:
        if Path(spec).is_dir() or spec == workdir:
            return read_card(find_checkpoint(spec))
    return None


def _open(data, sensor, max_value, ratio, card) -> Source:
    if Path(data).is_dir():
        return _open_folder(data, ratio, card)
    from rsfusion_jax.data.stored.pancollection import open_set

    scale = card["scale"] if card else {}
    sensor = sensor or scale.get("sensor")
    if sensor is None:
        raise UserError(f"whose pixels does {data} hold? give --sensor=NAME")
    return open_set(
        data,
        sensor=sensor,
        ratio=ratio or (card["network"]["ratio"] if card else None),
        max_value=max_value,
        usual_max_value=scale.get("max_value"),
    )


def _open_folder(data, ratio, card) -> Source:
    """The test split of a SEN12MS-CR folder, under the run's own options where there is a run."""
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
        raise UserError("this run names no test set of its own; give --data=FILE")
    return source
