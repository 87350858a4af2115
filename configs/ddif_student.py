"""A DDIF that fuses in four steps, taught by one that was trained with configs/ddif.py.

    rsfusion train --config=ddif_student:wv3 --config.init_from=runs/ddif_wv3 ...

The student begins as its teacher. `--config.diffusion.sampling_steps=2` with init_from of the
four-step student goes on. Arguments: the data sets of configs/data_sets.py.
"""

from . import ddif


def get_config(data_set: str = "wv3"):
    """Four steps on one data set."""
    config = ddif.get_config(data_set)
    config.name = f"ddif_student_{data_set}"
    config.train.update(objective="distillation", steps=50_000, batch_size=32, ema_start=2000)
    config.optim.update(learning_rate=5e-5, schedule="cosine")
    config.diffusion.update(sampler="dpm1", sampling_steps=4)
    return config
