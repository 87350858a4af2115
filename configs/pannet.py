"""PanNet (ICCV 2017), DLPan-Toolbox's recipe: MSE, Adam 1e-3, batch 32, 450 epochs.

    rsfusion train --config=pannet:wv3 --config.data.train=train_wv3.h5 ...

The argument is a data set of configs/data_sets.py.
"""

from . import dlpan


def get_config(data_set: str = "wv3"):
    """Return the published recipe for one data set."""
    return dlpan.recipe("pannet", data_set)
