"""Make the packaged weights: train configs/anysensor.py and store them with their origin.

    python -m benchmarks.studies.default_weights --out=rsfusion_jax/weights/anysensor

Run from the clone's root. Data: none, training is on built-in scenes.

A finished run (`--workdir`) is not trained again. Other seeds draw other scenes, first weights and
order; `python -m benchmarks.studies.zero_shot --run=FOLDER` scores their runs. The three files of a
folder of weights are written to `--out`; the library reads rsfusion_jax/weights/anysensor.
"""

import datetime
from pathlib import Path

import jax

import rsfusion_jax as rsf
from benchmarks.command_line import parser
from configs import anysensor
from rsfusion_jax.inference.pretrained import write_folder
from rsfusion_jax.runs.checkpoint import LATEST, find_checkpoint, read_card
from rsfusion_jax.training.loop import train

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
  `python -m benchmarks.studies.default_weights --out=rsfusion_jax/weights/anysensor`, {date}.
- **Scores**: on real images that were never trained on, in docs/results.md, "Default weights".
- **Licence**: Apache-2.0, as the package.

```python
import rsfusion_jax as rsf

fuser = rsf.load_default(num_bands=4)
fused = fuser(pan, ms)  # images in [0, 1]
```
"""


def main() -> None:
    """Train and store."""
    flags = parser(__doc__)
    flags.add_argument("--workdir", type=Path, default=Path("runs/anysensor_cameras"))
    flags.add_argument("--out", type=Path, required=True, help="folder of the weights")
    flags.add_argument("--seed", type=int, default=0)
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
    )
    options.out.mkdir(parents=True, exist_ok=True)
    write_folder(options.out, params, about, text)
    print(f"{options.out}: {count:,} parameters")


if __name__ == "__main__":
    main()
