"""RSANet in PyTorch: `rsfusion_jax.models.rsanet` with the authors' names of tensors.

A state dict of the authors loads with `strict=False`: what it holds beyond is never used.
"""

import torch
from torch import nn

from benchmarks.peers.adaptive_torch import TAPS, AdaptiveConv, WindowedAttention


class SA(WindowedAttention):
    """(B, n, H, W) -> (B, 9, H, W)."""

    def __init__(self, inputs, formulation):
        super().__init__(inputs, formulation)
        self.rate1 = nn.Parameter(torch.full((1,), 0.5))

    def forward(self, x):
        return self.rate1 * self.attend(x)[0]


class RSAM(AdaptiveConv):
    """A 3x3 convolution whose taps are weighted by four attentions in a row."""

    def __init__(self, inputs, outputs, formulation):
        super().__init__(inputs, outputs, formulation)
        widths = inputs, TAPS, TAPS, TAPS
        pairs = [(SA(n, formulation), nn.ReLU()) for n in widths]
        self.attention1 = nn.Sequential(*(layer for pair in pairs for layer in pair))
        self.attention1[-1] = nn.Sigmoid()

    def forward(self, x):
        return self.convolve(x, self.attention1(x))


class RSARB(nn.Module):
    """x + RSAM(ReLU(RSAM(x)))."""

    def __init__(self, channels, formulation):
        super().__init__()
        self.conv1 = RSAM(channels, channels, formulation)
        self.conv2 = RSAM(channels, channels, formulation)

    def forward(self, x):
        return x + self.conv2(self.conv1(x).relu())


class RSANet(nn.Module):
    """Head, residual blocks, tail; `ms` and `ratio` enter only through `lms`."""

    def __init__(
        self, num_bands, guide_bands=1, ratio=4, channels=32, blocks=3, formulation="best"
    ):
        super().__init__()
        self.blocks = [f"RB{i}" for i in range(1, blocks + 1)]
        head = RSAM(guide_bands + num_bands, channels, formulation)
        self.head_conv = nn.Sequential(head, nn.ReLU())
        for name in self.blocks:
            self.add_module(name, RSARB(channels, formulation))
        self.tail_conv = RSAM(channels, num_bands, formulation)

    def forward(self, pan, ms, lms):
        """(B, G, H, W), (B, C, h, w), (B, C, H, W) -> (B, C, H, W)."""
        x = self.head_conv(torch.cat([pan, lms], 1))
        for name in self.blocks:
            x = getattr(self, name)(x)
        return lms + self.tail_conv(x)
