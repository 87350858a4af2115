"""Which index without a truth ranks fused images as the truth would?

    python -m benchmarks.studies.indices [--data=FOLDER] [--folder=FOLDER] [--pictures=docs/images]

Run from the clone's root. Data: none for the rendered scenes; `--data` is the folder of the
WorldView-2, IKONOS and GeoEye-1 images that benchmarks/images.py names.

Synthetic scenes are rendered at full resolution with their truth, as six satellites and as
cameras that no satellite has; each is fused by the formulas, by the packaged weights and by small
networks at several stages of training, and degraded controls are made of the truth and of a good
method. Each index without a truth ranks these images, and Kendall's tau compares its order with
that by ERGAS, SAM and Q2n against the truth. Beside it stand the same figures of the real images
degraded once, where the original MS is the truth. Weighted combinations of the indices are fitted
on scenes of three satellites and scored on everything else.

What was measured of a scene stays in `--folder` and is not measured again; `--scenes=5` measures
at most five new ones. Summaries go to benchmarks/results/indices.json; tables are printed.
Compilation takes half as long with XLA_FLAGS=--xla_backend_optimization_level=0.
"""

import time
from pathlib import Path

import numpy as np

from benchmarks import record
from benchmarks.command_line import parser
from benchmarks.studies import index_methods, index_pictures, index_ranks
from benchmarks.studies.index_scenes import (
    CONDITIONS,
    DEPLOYMENT,
    HELD_OUT,
    SATELLITES,
    TRUE,
    measure,
    real_cases,
    render,
    rendered_cases,
    stored,
)

FITTED_ON = ("wv3", "wv4", "qb")
"""Satellites whose scenes the combinations are fitted on; the real images are of the others."""
FITTED = {"fitted, all seven": index_ranks.FEATURES}
UNSEEN = "unseen satellites"


def all_rows(options) -> list[dict]:
    """Return the rows of all scenes, measuring those that no file holds yet."""
    fusers, rows, new = {}, [], 0
    cases = [
        (case, lambda case=case: render(case, options.size, options.seed))
        for case in rendered_cases(options.per_satellite, options.per_camera, options.seed)
    ]
    if options.data:
        cases += [(case, lambda sample=sample: sample) for case, sample in real_cases(options.data)]
    for case, sample in cases:
        path = options.folder / f"{case.name}.json"
        if not path.exists() and new == options.scenes:
            continue
        new += not path.exists()

        def compute(case=case, sample=sample):
            bands, start = case.sensor.num_bands, time.process_time()
            if bands not in fusers:
                folder = options.folder / "networks"
                fusers[bands] = index_methods.networks(bands, folder, options.seed)
            row = measure(case, sample(), fusers[bands], options.seed)
            print(f"{case.name}: {time.process_time() - start:.1f} CPU s", flush=True)
            return row

        rows.append(stored(path, compute))
    return rows


def scene_groups(rows: list[dict]) -> dict[str, list[dict]]:
    """Return the groups of scenes that are summarised, those with a scene."""
    rendered = [row for row in rows if row["group"] != DEPLOYMENT]
    groups = {"all rendered": rendered}
    of_others = [name for name in SATELLITES if name not in FITTED_ON]
    groups[UNSEEN] = [row for row in rows if row["group"] in of_others]
    for name in (*SATELLITES, HELD_OUT, DEPLOYMENT):
        groups[name] = [row for row in rows if row["group"] == name]
    for name in CONDITIONS:
        groups[name] = [row for row in rendered if row["condition"] == name]
    for image in ("wv2", "ikonos", "ge1"):
        groups[f"real {image}"] = [row for row in rows if row["name"].startswith(f"real_{image}")]
    return {name: members for name, members in groups.items() if members}


def summarise(rows: list[dict], weights: dict, seed: int) -> list[dict]:
    """Return a summary for each group of scenes and group of methods."""
    summaries = []
    taus = {
        (row["name"], methods): index_ranks.taus(row, methods, weights)
        for row in rows
        for methods in index_ranks.GROUPS
    }
    for scenes, members in scene_groups(rows).items():
        for methods in index_ranks.GROUPS:
            per_scene = [taus[row["name"], methods] for row in members]
            tau = {
                name: dict(
                    zip(
                        (*TRUE, "mean"),
                        index_ranks.intervals([row[name] for row in per_scene], seed),
                        strict=True,
                    )
                )
                for name in per_scene[0]
            }
            summary = {"scenes": scenes, "methods": methods, "count": len(members), "tau": tau}
            agreed = {
                " and ".join(pair): np.mean(
                    [index_ranks.agreement(row, methods, pair) for row in members], axis=0
                )
                for pair in index_ranks.CHECKED
            }
            summary["alike, right where alike, first alone right"] = {
                name: shares.round(4).tolist() for name, shares in agreed.items()
            }
            if methods == "without controls":
                shares = [index_ranks.rank_of_truth(row, weights) for row in members]
                summary["preferred to the truth"] = {
                    name: round(float(np.mean([share[name] for share in shares])), 4)
                    for name in shares[0]
                }
            summaries.append(summary)
    return summaries


def print_table(summaries: list[dict], methods: str, scenes: tuple[str, ...]) -> None:
    """Print mean tau with its interval, one line for each index."""
    shown = {row["scenes"]: row["tau"] for row in summaries if row["methods"] == methods}
    columns = [name for name in scenes if name in shown]
    if not columns:
        return
    lines = []
    for index in shown[columns[0]]:
        cells = [shown[name][index]["mean"] for name in columns]
        lines.append(
            [index, *(f"{mean:.2f} ({low:.2f} to {high:.2f})" for mean, low, high in cells)]
        )
    print(f"\n{methods}\n" + record.table(("index", *columns), lines))


def main() -> None:
    """Measure, fit, summarise, draw."""
    flags = parser(__doc__, "indices.json")
    flags.add_argument(
        "--data", type=Path, help="folder with the .mat files; rendered only without"
    )
    flags.add_argument("--folder", type=Path, default=Path("runs/indices"))
    flags.add_argument("--pictures", type=Path, help="folder for the PNGs; none without")
    flags.add_argument("--size", type=int, default=128, help="PAN pixels along a rendered scene")
    flags.add_argument("--per-satellite", type=int, default=10)
    flags.add_argument("--per-camera", type=int, default=7)
    flags.add_argument("--scenes", type=int, default=-1, help="at most so many new scenes")
    flags.add_argument("--seed", type=int, default=0)
    options = flags.parse_args()
    rows = all_rows(options)
    fitting = [row for row in rows if row["group"] in FITTED_ON]
    weights = {name: index_ranks.fit(fitting, chosen) for name, chosen in FITTED.items()}
    summaries = summarise(rows, weights, options.seed)
    fitted = {"scenes": "weights", "methods": "all", "count": len(fitting), "weights": weights}
    record.merge(options.out, [*summaries, fitted], ("scenes", "methods"))
    for methods in index_ranks.GROUPS:
        print_table(summaries, methods, ("all rendered", UNSEEN, HELD_OUT, DEPLOYMENT))
    print_table(summaries, "without controls", CONDITIONS)
    print(weights)
    if options.pictures:
        index_pictures.draw(summaries, options.pictures)


if __name__ == "__main__":
    main()
