"""Every network at a width that trains in minutes on two CPU cores.

    python train.py --config=configs/small.py:ramsf

The argument is the network. Everything else is the quickstart's (configs/default.py), with patches
of 32 pixels; DDIF, a diffusion network, has its own objective and optimiser. The table of networks
and tasks in docs/networks.md was made with these widths.
"""

from configs import default

WIDTHS = {
    "cf2n": {"channels": 16, "n": 2},
    # Half of the published width and patch, a level less: as there, only the coarsest attends.
    "ddif": {
        "inner_channel": 16,
        "channel_mults": (1, 2, 2),
        "attn_res": (8,),
        "res_blocks": 2,
        "image_size": 32,
        "dropout": 0.0,
    },
    "feinfn": {
        "feat_dim": 32,
        "guide_dim": 32,
        "spa_edsr_num": 2,
        "spe_edsr_num": 2,
        "mlp_dim": (64, 32),
    },
    "mmapp": {"blocks": 2},
    "ramsf": {"feat_dim": 32, "guide_dim": 32, "mlp_dim": (64, 32), "nir_dim": 17},
    "rsanet": {},
    "u2net": {"dim": 16, "dim_head": 8},
}


def get_config(network: str = "u2net"):
    """The quickstart with another network."""
    if network not in WIDTHS:
        raise ValueError(f"network {network!r}; choose one of {', '.join(WIDTHS)}")
    config = default.get_config()
    config.name = f"{network}_small"
    config.model = {"name": network, **WIDTHS[network]}
    config.data.patch_size = 32
    config.train.steps = 1500
    if network == "ddif":
        config.train.update(objective="diffusion", batch_size=8)
        config.train.update(ema_decay=0.995, ema_warmup=True)
        config.optim.update(name="adamw", learning_rate=1e-3, clip_norm=0.5)
    return config
