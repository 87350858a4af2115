"""U2Net (ACM MM 2023), the authors' recipe: L1, Adam 1e-3 halved every 100 of 500 epochs, batch 16.

    rsfusion train --config=u2net:wv3 \
        --config.data.train=train_wv3.h5 --config.data.valid=valid_wv3.h5 \
        --config.data.test=test_wv3_multiExm1.h5

The argument is a data set of configs/data_sets.py. The authors divide the counts of every sensor by
2047. Published scores on wv3: SAM 2.888, ERGAS 2.149, Q8 0.920.
"""

from rsfusion_jax.training.config import default_config

from . import data_sets


def get_config(data_set: str = "wv3"):
    """Return the published recipe for one data set."""
    config = default_config()
    config.name = f"u2net_{data_set}"
    config.seed = 1
    config.model = {"name": "u2net", "dim": 32, "dim_head": 16}
    config.data.patch_size = 64
    config.train.batch_size = 16
    config.train.steps = 0
    config.train.epochs = 500
    config.train.eval_every = 2000
    config.train.checkpoint_every = 1000
    config.optim.learning_rate = 1e-3
    config.optim.schedule = "step"
    config.optim.warmup_steps = 0
    config.data.crops_per_sample = 1
    data_sets.select(config, data_set)
    return config
