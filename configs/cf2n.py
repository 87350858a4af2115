"""CF2N (Geo-spatial Information Science 2024), RSMIF's recipe: L1, Adam 3e-4, batch 32.

    rsfusion train --config=cf2n:wv3 --config.data.train=train_wv3.h5 ...

The argument is a data set of configs/data_sets.py. The network is a reconstruction; the recipe is
that of the RSMIF repository of its authors.
"""

from . import rsmif


def get_config(data_set: str = "wv3"):
    """Return the published recipe for one data set."""
    return rsmif.recipe("cf2n", data_set)
