"""AnySensor, a network of this project: the training of the packaged weights, on built-in scenes.

    rsfusion train --config=anysensor

Every scene has a camera of its own; in every step MS is made anew with another blur and ratio, and
sometimes several bands guide the others. To train and store the packaged weights, run
`python -m benchmarks.studies.default_weights --out=rsfusion_jax/weights/anysensor`.
The argument is "cameras" (the default) or a data set of configs/data_sets.py.
"""

from rsfusion_jax.training.config import default_config

from . import data_sets

CAMERAS = "cameras"


def get_config(data_set: str = CAMERAS):
    """Return the recipe of the packaged weights, or the same for one data set."""
    config = default_config()
    config.name = f"anysensor_{data_set}"
    config.model = {"name": "anysensor"}
    config.data.patch_size = 72  # a multiple of every ratio
    config.train.update(loss="relative", steps=8000, batch_size=3)
    config.train.update(ema_decay=0.998, ema_warmup=True)
    config.train.update(eval_every=1000, checkpoint_every=1000)
    config.optim.update(learning_rate=2e-3, clip_norm=0.5, warmup_steps=100)
    if data_set != CAMERAS:
        steps = config.train.steps
        data_sets.select(config, data_set)
        config.train.steps = steps
        return config
    config.train.update(objective="any_camera", loss="of_exp")
    config.data.test = ""
    config.data.augment = "d4"
    config.data.crops_per_sample = 64
    config.data.synthetic.update(cameras="drawn", train_scenes=256, valid_scenes=6, size=128)
    return config
