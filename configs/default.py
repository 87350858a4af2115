"""The quickstart: FusionNet on built-in synthetic scenes, minutes on two CPU cores.

    rsfusion train

Every field that a config has is explained in rsfusion_jax/training/config.py. The other files of
this folder state what differs for one network and its published recipe.
"""

from rsfusion_jax.training.config import default_config


def get_config():
    """Return the config of the quickstart."""
    return default_config()
