"""DDIF (Information Fusion 2024), the authors' recipe: L1 of the residual, AdamW 1e-4, batch 64.

    rsfusion train --config=ddif:wv3 --config.data.train=train_wv3.h5 ...

The training has 300,000 steps. The learning rate is multiplied by 0.2 after 100,000, 200,000 and
350,000 steps, and gradients are clipped to norm 0.003. Validation uses 25 steps of DDIM and a
moving average of the weights, which is a copy of them until step 20,000.
The argument is a data set of configs/data_sets.py. The authors divide GaoFen-2's counts by 1023;
CAVE and Harvard are in [0, 1].
"""

from rsfusion_jax.training.config import default_config

from . import data_sets


def get_config(data_set: str = "wv3"):
    """Return the published recipe for one data set."""
    config = default_config()
    config.name = f"ddif_{data_set}"
    config.model = {"name": "ddif"}
    config.data.patch_size = 64
    config.data.crops_per_sample = 1
    config.train.update(objective="diffusion", batch_size=64, steps=300_000, epochs=0)
    config.train.update(eval_every=5000, checkpoint_every=5000)
    config.train.update(ema_decay=0.995, ema_start=20_000)
    config.optim.update(name="adamw", learning_rate=1e-4, weight_decay=1e-4, clip_norm=0.003)
    config.optim.update(schedule="milestones", gamma=0.2, warmup_steps=0)
    config.optim.milestone_steps = (100_000, 200_000, 350_000)
    data_sets.select(config, data_set, max_value=1023.0 if data_set == "gf2" else 2047.0)
    if data_set == "synthetic":
        config.train.ema_start = 2000
    return config
