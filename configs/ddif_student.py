"""A DDIF with four sampler steps, distilled from one that was trained with configs/ddif.py.

    rsfusion train --config=ddif_student:wv3 --config.init_from=runs/ddif_wv3 ...

The student starts with the weights of its teacher. To distil further, set init_from to the run of
the four-step student and `--config.diffusion.sampling_steps=2`.
The argument is a data set of configs/data_sets.py.
"""

from . import ddif


def get_config(data_set: str = "wv3"):
    """Return the recipe of the four-step student for one data set."""
    config = ddif.get_config(data_set)
    config.name = f"ddif_student_{data_set}"
    config.train.update(objective="distillation", steps=50_000, batch_size=32, ema_start=2000)
    config.optim.update(learning_rate=5e-5, schedule="cosine")
    config.diffusion.update(sampler="dpm1", sampling_steps=4)
    return config
