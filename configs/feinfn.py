"""FeINFN (NeurIPS 2024), the authors' recipe: L1 + 0.1 (1 - SSIM), AdamW 2e-4, batch 4.

    rsfusion train --config=feinfn:cave_x4 --config.data.train=train.h5 ...

The learning rate falls to 1e-5 along a cosine in 300 epochs, rises again in the next 300, and so on
for 2000 epochs. The authors' code names no EMA decay for this network; related networks of theirs
have 0.999.
The argument is a data set of configs/data_sets.py. Those of the paper are stored in [0, 1].
"""

from rsfusion_jax.training.config import default_config

from . import data_sets


def get_config(data_set: str = "cave_x4"):
    """Return the published recipe for one data set."""
    config = default_config()
    config.name = f"feinfn_{data_set}"
    config.seed = 3407
    config.model = {"name": "feinfn"}
    config.data.patch_size = 64
    config.data.crops_per_sample = 1
    config.train.update(loss="l1ssim", batch_size=4, steps=0, epochs=2000)
    config.train.update(eval_every=5000, checkpoint_every=1000)
    config.train.update(ema_decay=0.999, ema_warmup=True)
    config.optim.update(name="adamw", learning_rate=2e-4, warmup_steps=0, clip_norm=1e-4)
    config.optim.update(schedule="cosine_periodic", period_epochs=300, final_rate=1e-5)
    data_sets.select(config, data_set)
    if data_set == "synthetic":
        config.data.sensor = "cave"
        config.data.synthetic.guide = "rgb"
        config.eval.methods = ()  # the classical methods need a PAN image of one band
    return config
