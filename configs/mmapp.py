"""MMAPP (JSTARS 2024) with its collection's recipe and the loss of all its stages.

    rsfusion train --config=mmapp:wv3 --config.data.train=train_wv3.h5 ...

Arguments: the data sets of configs/data_sets.py.
"""

from . import rsmif


def get_config(data_set: str = "wv3"):
    """The published recipe on one data set."""
    config = rsmif.recipe("mmapp", data_set)
    config.train.objective = "deep_supervision"
    return config
