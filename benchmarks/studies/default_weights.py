"""Make the packaged weights: train configs/anysensor.py and store them with their origin.

    python -m benchmarks.studies.default_weights --out=rsfusion_jax/weights/anysensor

Run from the clone's root. Data: none, training is on built-in scenes.

A finished run (`--workdir`) is not trained again. Other seeds draw other scenes, first weights and
order; `python -m benchmarks.studies.zero_shot --run=FOLDER` scores their runs. The three files of a
folder of weights are written to `--out`; the library reads rsfusion_jax/weights/anysensor. Once
zero_shot has scored them, `--scores=benchmarks/results/zero_shot.json` adds the scores to the card.
"""

import datetime
import itertools
import json
from pathlib import Path

import jax

import rsfusion_jax as rsf
from benchmarks import record
from benchmarks.command_line import parser
from benchmarks.studies import zero_shot
from configs import anysensor
from rsfusion_jax.inference.pretrained import write_folder
from rsfusion_jax.runs.checkpoint import LATEST, find_checkpoint, read_card
from rsfusion_jax.training.loop import train

_SPEED = "speed/steps_per_second"
_CARD = """---
library_name: rsfusion_jax
license: apache-2.0
tags: [pansharpening, image-fusion, remote-sensing, jax]
---
# AnySensor

The weights that rsfusion_jax uses where none are named: one small network ({count:,} parameters)
that sharpens any number of bands by one or several guide bands, at any ratio.

- **Data**: built-in synthetic scenes alone, {scenes} of them, each with a camera of its own. MS is
  made anew in every step, with another blur and ratio (2, 3, 4 or 6).
- **Training**: {steps:,} steps of configs/anysensor.py with seed {seed}, on two CPU cores, by
  `python -m benchmarks.studies.default_weights --out=rsfusion_jax/weights/anysensor`, {date};
  {minutes:.0f} minutes without rendering the scenes and compiling.
- **Scores**: on real images that were never trained on, in docs/results.md, "Default weights".
- **Licence**: Apache-2.0, as the package.
{scores}
```python
import rsfusion_jax as rsf

fuser = rsf.load_default(num_bands=4)
fused = fuser(pan, ms)  # images in [0, 1]
```
"""


def _minutes(run: Path) -> float:
    """Time of all training steps, as the run logged it."""
    entries = map(json.loads, (run / "metrics.jsonl").read_text().splitlines())
    speeds = {0: 0.0} | {e["step"]: e[_SPEED] for e in entries if _SPEED in e}
    steps = sorted(speeds)
    return sum((b - a) / speeds[b] for a, b in itertools.pairwise(steps)) / 60


def _scores(file: Path) -> str:
    """The table of `zero_shot` at ratio 4 and on Sentinel-2, for the card."""
    rows = [row for row in record.read(file) if "," not in row["pan_degradation"]]
    chosen = [row for row in rows if row["ratio"] == 4 or row["image"] == "Sentinel-2"]
    title = "Beside the best classical method, chosen anew in every line:"
    return f"\n{title}\n\n{zero_shot.table(chosen)}\n"


def main() -> None:
    """Train and store."""
    flags = parser(__doc__)
    flags.add_argument("--workdir", type=Path, default=Path("runs/anysensor_cameras"))
    flags.add_argument("--out", type=Path, required=True, help="folder of the weights")
    flags.add_argument("--seed", type=int, default=0)
    flags.add_argument("--scores", type=Path, help="the file of zero_shot's rows")
    options = flags.parse_args()
    config = anysensor.get_config()
    config.seed = options.seed
    run = train(config, options.workdir)
    # The last weights: the validation set has one ratio only, and a moving average needs no choice.
    checkpoint = find_checkpoint(run / LATEST)
    params = jax.device_get(rsf.load(checkpoint).variables["params"])
    card = read_card(checkpoint)
    about = {
        "network": card["config"]["model"],
        "made_by": "python -m benchmarks.studies.default_weights",
        "made_on": str(datetime.date.today()),
        "trained_on": "built-in synthetic scenes alone",
        "step": card["step"],
        "validation": card.get("score"),
        "jax": jax.__version__,
        "config": card["config"],
    }
    count = sum(values.size for values in jax.tree.leaves(params))
    text = _CARD.format(
        count=count,
        scenes=card["config"]["data"]["synthetic"]["train_scenes"],
        steps=card["step"],
        seed=card["config"]["seed"],
        date=about["made_on"],
        minutes=_minutes(run),
        scores=_scores(options.scores) if options.scores else "",
    )
    options.out.mkdir(parents=True, exist_ok=True)
    write_folder(options.out, params, about, text)
    print(f"{options.out}: {count:,} parameters")


if __name__ == "__main__":
    main()
