"""PanNet (ICCV 2017), DLPan-Toolbox's recipe: MSE, Adam 1e-3, batch 32, 450 epochs.

    rsfusion train --config=pannet:wv3 --config.data.train=train_wv3.h5 ...

Arguments: the data sets of configs/data_sets.py.
"""

from . import dlpan


def get_config(data_set: str = "wv3"):
    """The published recipe on one data set."""
    return dlpan.recipe("pannet", data_set)
