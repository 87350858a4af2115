"""The orthonormal Haar transform of `rsfusion_jax.ops.haar` in PyTorch."""

import torch
import torch.nn.functional as F


def dwt(image):
    """(B, C, H, W) -> LL, HL, LH, HH, each (B, C, H / 2, W / 2)."""
    a, b = image[..., 0::2, 0::2], image[..., 0::2, 1::2]
    c, d = image[..., 1::2, 0::2], image[..., 1::2, 1::2]
    upper, lower, across, beneath = (a + b) / 2, (c + d) / 2, (b - a) / 2, (d - c) / 2
    return upper + lower, across + beneath, lower - upper, beneath - across


def idwt(ll, hl, lh, hh):
    """Four (B, C, h, w) -> (B, C, 2 h, 2 w)."""
    upper, lower, across, beneath = (ll - lh) / 2, (ll + lh) / 2, (hl - hh) / 2, (hl + hh) / 2
    blocks = [upper - across, upper + across, lower - beneath, lower + beneath]
    return F.pixel_shuffle(torch.stack(blocks, 2).flatten(1, 2), 2)
