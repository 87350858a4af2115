"""Scores networks and classical methods on one set with reference.

python evaluate.py --workdir=runs/quickstart                 a run on its own test set
python evaluate.py --methods=runs/a,u2net:w.pth,bt_h --data=test_wv3.h5 --sensor=wv3
"""

from absl import flags

from rsfusion_jax.cli.entry import run_app

_WORKDIR = flags.DEFINE_string("workdir", None, "run folder or checkpoint to score")
_METHODS = flags.DEFINE_list("methods", [], "run folders, network:file.pth, classical methods")
_DATA = flags.DEFINE_string("data", None, "set in PanCollection's layout; default the run's own")
_SENSOR = flags.DEFINE_string("sensor", None, "whose pixels --data holds; default the run's")
_MAX_VALUE = flags.DEFINE_float("max_value", None, "divisor of --data; default the full scale")
_RATIO = flags.DEFINE_integer("ratio", None, "PAN pixels per MS pixel; default the sensor's")
_BATCH_SIZE = flags.DEFINE_integer("batch_size", 4, "images fused at once")
_OUT = flags.DEFINE_string("out", None, "folder for report.json and pictures")
_SAVE_MAT = flags.DEFINE_bool("save_mat", False, "write the fused images for the MATLAB toolbox")


def main(_):
    """Reads the flags and makes one call."""
    from rsfusion_jax.cli.evaluate import evaluate

    evaluate(
        workdir=_WORKDIR.value,
        methods=_METHODS.value,
        data=_DATA.value,
        sensor=_SENSOR.value,
        max_value=_MAX_VALUE.value,
        ratio=_RATIO.value,
        batch_size=_BATCH_SIZE.value,
        out=_OUT.value,
        save_mat=_SAVE_MAT.value,
    )


if __name__ == "__main__":
    run_app(main)
