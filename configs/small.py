"""Every network in a small width, which trains in minutes on two CPU cores.

    rsfusion train --config=small:ramsf

The argument is the name of the network. All other settings are those of the quickstart, except for
the objectives of MMAPP and DDIF and the learning rates of some networks. The table of networks and
tasks in docs/results.md has scores of these widths.
"""

from rsfusion_jax.errors import UserError
from rsfusion_jax.models.catalogue import SMALL_WIDTHS as WIDTHS
from rsfusion_jax.training.config import default_config


def get_config(network: str = "u2net"):
    """Return the quickstart's config with another network."""
    if network not in WIDTHS:
        raise UserError(f"network {network!r}; choose one of {', '.join(WIDTHS)}")
    config = default_config()
    config.name = f"{network}_small"
    config.model = {"name": network, **WIDTHS[network]}
    config.train.update(steps=1500, eval_every=1500, checkpoint_every=1000)
    if network == "u2net":
        # It learns the upsampling of MS itself: with a rate of 2e-3 it is worse than the classical
        # methods after a thousand steps.
        config.optim.update(learning_rate=5e-3, clip_norm=1.0)
    if network == "mmapp":
        # It has no upsampled MS as input: its stages must first learn to upsample, each by its own
        # loss.
        config.train.objective = "deep_supervision"
        config.optim.update(learning_rate=5e-3, clip_norm=1.0)
    if network in ("feinfn", "rsanet"):
        # Large steps at the beginning can permanently zero the output of FeINFN's wavelets and of
        # RSANet's first rectifier; the network then only returns EXP.
        config.optim.update(learning_rate=1e-3, clip_norm=0.1, warmup_steps=100)
    if network == "ddif":
        config.train.update(objective="diffusion", batch_size=8)
        config.train.update(ema_decay=0.995, ema_warmup=True)
        config.optim.update(name="adamw", learning_rate=1e-3, clip_norm=0.5)
    return config
