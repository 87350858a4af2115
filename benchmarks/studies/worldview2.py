"""Leaderboard on a real WorldView-2 image: every classical method and every published network.

    python -m benchmarks.studies.worldview2 --data=FOLDER [--weights=u2net:200000_iter.pth,...]

Run from the clone's root. Data: the WorldView-2 image that benchmarks/images.py names; `--data` is
its folder. `--weights` takes `network:file.pth` pairs, separated by commas. The table of
docs/results.md has the authors' WorldView-3 weights: U2Net's of https://github.com/PSRben/U2Net
(weights/), and those of PNN, PanNet, FusionNet, DiCNN, MSDCNN and DRPNN of
https://github.com/liangjiandeng/DLPan-Toolbox, "01-DL-toolbox(Pytorch)/UDL/pretrained-model/WV3".
Without `--weights` classical methods alone are scored.

The square of 128 x 128 MS pixels in the middle of the image is degraded by the Wald protocol as the
MATLAB toolbox does it. The networks see a sensor that they were not trained on.

Rows go to benchmarks/results/worldview2.json; the table of this run is printed. Its report and
pictures go to `--report`.
"""

import json
import tempfile
from pathlib import Path

from benchmarks import record
from benchmarks.command_line import parser, words
from benchmarks.images import CENTRE, MAX_VALUES, add_flags, degraded, read
from rsfusion_jax import classical
from rsfusion_jax.data.stored.set_file import write_set
from rsfusion_jax.evaluation.evaluate import evaluate


def main() -> None:
    """Score all methods and print the table."""
    flags = parser(__doc__, "worldview2.json")
    add_flags(flags, images=False)
    flags.add_argument("--weights", type=words, default=[], help="network:file.pth, by comma")
    flags.add_argument("--report", type=Path, default=Path("runs/worldview2"), help="folder")
    options = flags.parse_args()
    # wrap: the upsampled MS has the periodic borders of the MATLAB toolbox.
    sample = degraded(*read(options.data, "wv2"), CENTRE, CENTRE, sensor="wv2", wrap=True)
    attributes = {"max_value": MAX_VALUES["wv2"], "ms_phase": 2.0, "pan_degradation": "imresize"}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "wv2_128.h5"
        write_set(path, iter([sample]), 1, attributes)
        names = [name for name in classical.list_methods() if name != "exp"]
        evaluate(
            workdir=None,
            methods=[*names, *options.weights],
            data=str(path),
            sensor="wv2",
            max_value=None,
            ratio=None,
            batch_size=1,
            out=str(options.report),
        )
    report = json.loads((options.report / "report.json").read_text())
    rows = [
        {"method": method, "protocol": report["protocol"]}
        | {
            key: value["mean"] if isinstance(value, dict) else value
            for key, value in values.items()
        }
        for method, values in report["methods"].items()
    ]
    record.merge(options.out, rows, ("method",))


if __name__ == "__main__":
    main()
