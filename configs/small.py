"""Every network at a width that trains in minutes on two CPU cores.

    python train.py --config=configs/small.py:ramsf

The argument is the network. Everything else is the quickstart's (configs/default.py), with patches
of 32 pixels. The table of networks and tasks in docs/networks.md was made with these widths.
"""

from configs import default

WIDTHS = {
    "cf2n": {"channels": 16, "n": 2},
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
    return config
