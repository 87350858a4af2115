"""OneSensor, a network of this project: AnySensor's packaged weights, corrected for one sensor.

    rsfusion train --config=onesensor:wv3 --config.data.train=train_wv3.h5 ...

`rsfusion fuse --adapt` trains the same network on one scene. The argument is a data set of
configs/data_sets.py.
"""

from rsfusion_jax.training.config import default_config

from . import data_sets


def get_config(data_set: str = "synthetic"):
    """Return the recipe for one data set."""
    config = default_config()
    config.name = f"onesensor_{data_set}"
    config.init_from = "default"
    config.model = {"name": "onesensor"}
    data_sets.select(config, data_set)
    config.train.update(loss="relative", ema_decay=0.995, ema_warmup=True)
    config.optim.update(learning_rate=4e-3, clip_norm=1.0)
    return config
