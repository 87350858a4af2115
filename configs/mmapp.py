"""MMAPP (JSTARS 2024), the recipe of the RSMIF collection with a loss for each of its stages.

    rsfusion train --config=mmapp:wv3 --config.data.train=train_wv3.h5 ...

The argument is a data set of configs/data_sets.py.
"""

from . import rsmif


def get_config(data_set: str = "wv3"):
    """Return the published recipe for one data set."""
    config = rsmif.recipe("mmapp", data_set)
    config.train.objective = "deep_supervision"
    return config
