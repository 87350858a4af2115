"""Every network at a width that trains in minutes on two CPU cores.

    rsfusion train --config=small:ramsf

The argument is the network. Everything else is the quickstart's; MMAPP and DDIF, a diffusion
network, have their own objectives, some networks another learning rate. The table of networks and
tasks in docs/results.md was made with these widths.
"""

from rsfusion_jax.errors import UserError
from rsfusion_jax.models.catalogue import SMALL_WIDTHS as WIDTHS
from rsfusion_jax.training.config import default_config


def get_config(network: str = "u2net"):
    """The quickstart with another network."""
    if network not in WIDTHS:
        raise UserError(f"network {network!r}; choose one of {', '.join(WIDTHS)}")
    config = default_config()
    config.name = f"{network}_small"
    config.model = {"name": network, **WIDTHS[network]}
    config.train.update(steps=1500, eval_every=1500, checkpoint_every=1000)
    if network == "u2net":
        # It learns its own enlargement: at 2e-3 a thousand steps leave it behind the classical.
        config.optim.update(learning_rate=5e-3, clip_norm=1.0)
    if network == "mmapp":
        # Nothing enlarges MS for it: its stages have to learn that first, each by its own loss.
        config.train.objective = "deep_supervision"
        config.optim.update(learning_rate=5e-3, clip_norm=1.0)
    if network in ("feinfn", "rsanet"):
        # Steps too large at the beginning can switch FeINFN's wavelets and RSANet's first rectifier
        # off for good; what is left is EXP.
        config.optim.update(learning_rate=1e-3, clip_norm=0.1, warmup_steps=100)
    if network == "ddif":
        config.train.update(objective="diffusion", batch_size=8)
        config.train.update(ema_decay=0.995, ema_warmup=True)
        config.optim.update(name="adamw", learning_rate=1e-3, clip_norm=0.5)
    return config
