"""CF2N (Geo-spatial Information Science 2024): its collection's recipe, L1 and Adam 3e-4, batch 32.

    rsfusion train --config=cf2n:wv3 --config.data.train=train_wv3.h5 ...

Arguments: the data sets of configs/data_sets.py. The network is a reconstruction; the recipe is
that of its authors' repository.
"""

from . import rsmif


def get_config(data_set: str = "wv3"):
    """The published recipe on one data set."""
    return rsmif.recipe("cf2n", data_set)
