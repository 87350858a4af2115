"""RAMSF (TGRS 2025), the recipe of the RSMIF collection: L1, Adam 3e-4, batch 32, 600 epochs.

    rsfusion train --config=ramsf:wv3 --config.data.train=train_wv3.h5 ...

The argument is a data set of configs/data_sets.py.
"""

from . import rsmif


def get_config(data_set: str = "wv3"):
    """Return the published recipe for one data set."""
    return rsmif.recipe("ramsf", data_set)
