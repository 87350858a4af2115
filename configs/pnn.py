"""PNN (Remote Sensing 2016), DLPan-Toolbox's recipe: MSE, SGD, batch 64, 12000 epochs.

    rsfusion train --config=pnn:wv3 --config.data.train=train_wv3.h5 ...

The argument is a data set of configs/data_sets.py.
"""

from . import dlpan


def get_config(data_set: str = "wv3"):
    """Return the published recipe for one data set."""
    return dlpan.recipe("pnn", data_set)
