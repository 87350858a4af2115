"""BandWise, a small network of this project for any sensor, on built-in scenes.

    rsfusion train --config=bandwise

Takes about ten minutes on a CPU. Every scene has a camera of its own, with its own bands, MTF,
noise and misregistration of PAN. Its successor is AnySensor (configs/anysensor.py).
The argument is "cameras" (the default) or a data set of configs/data_sets.py.
"""

from rsfusion_jax.training.config import default_config

from . import data_sets

CAMERAS = "cameras"


def get_config(data_set: str = CAMERAS):
    """Return the recipe for many cameras, or the same for one data set."""
    config = default_config()
    config.name = f"bandwise_{data_set}"
    config.model = {"name": "bandwise"}
    config.data.patch_size = 48
    config.train.update(loss="relative", steps=2400, batch_size=4, ema_decay=0.995, ema_warmup=True)
    config.train.update(eval_every=800, checkpoint_every=800)
    config.optim.update(learning_rate=3e-3, clip_norm=1.0)
    if data_set != CAMERAS:
        steps = config.train.steps
        data_sets.select(config, data_set)
        config.train.steps = steps
        return config
    config.data.test = ""
    config.data.synthetic.update(cameras="drawn", train_scenes=320, valid_scenes=8, size=64)
    return config
