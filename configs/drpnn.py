"""DRPNN (GRSL 2017), DLPan-Toolbox's recipe: MSE, Adam 2e-4, batch 32, 500 epochs.

    rsfusion train --config=drpnn:wv3 --config.data.train=train_wv3.h5 ...

The argument is a data set of configs/data_sets.py.
"""

from . import dlpan


def get_config(data_set: str = "wv3"):
    """Return the published recipe for one data set."""
    return dlpan.recipe("drpnn", data_set)
