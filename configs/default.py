"""The quickstart: FusionNet on built-in synthetic scenes, in minutes on two CPU cores.

    rsfusion train

All fields of a config are explained in rsfusion_jax/training/config.py. The other recipes set those
that differ for one network and its published training.
"""

from rsfusion_jax.training.config import default_config


def get_config():
    """Return the config of the quickstart."""
    return default_config()
