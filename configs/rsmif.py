"""The recipe that the networks of the RSMIF collection share; not a run of its own."""

from rsfusion_jax.training.config import default_config

from . import data_sets


def recipe(network: str, data_set: str):
    """L1, Adam 3e-4 times 0.9 after 100 of 600 epochs, batch 32, patches of 64 pixels, seed 42."""
    config = default_config()
    config.name = f"{network}_{data_set}"
    config.seed = 42
    config.model = {"name": network}
    config.data.patch_size = 64
    config.data.crops_per_sample = 1
    config.train.update(batch_size=32, steps=0, epochs=600)
    config.train.update(eval_every=2000, checkpoint_every=1000)
    config.optim.update(learning_rate=3e-4, schedule="milestones", warmup_steps=0)
    config.optim.update(milestones=(100,), gamma=0.9)
    data_sets.select(config, data_set)
    return config
