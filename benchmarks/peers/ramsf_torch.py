"""RAMSF in PyTorch: `rsfusion_jax.models.ramsf` with the authors' names of tensors.

For ratios divisible by 4: the other ones are not the authors'.
"""

import torch.nn.functional as F
from torch import nn

from benchmarks.peers.haar_torch import dwt, idwt
from benchmarks.peers.implicit_torch import ImplicitQuery


class ResBlock(nn.Module):
    """x + conv(LeakyReLU(conv(x)))."""

    def __init__(self, channels):
        super().__init__()
        self.conv0 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x):
        return x + self.conv1(F.leaky_relu(self.conv0(x)))


class RAMSF(nn.Module):
    """Wavelet details of both images, and two queries from the low-resolution image to full size.

    The two formulations differ in the queries alone.
    """

    def __init__(
        self,
        num_bands,
        guide_bands=1,
        ratio=4,
        feat_dim=64,
        guide_dim=64,
        mlp_dim=(256, 128),
        nir_dim=33,
        formulation="best",
    ):
        super().__init__()

        def encoder(inputs):
            return nn.Sequential(nn.Conv2d(inputs, feat_dim, 3, padding=1), nn.PReLU())

        self.blk_1_32, self.blk_8_32 = encoder(guide_bands), encoder(num_bands)
        self.spatial_encoder, self.spectral_encoder = encoder(feat_dim // 4), encoder(num_bands)
        for name in ("pan", "lms", "HL", "LH", "HH", "HH_HH", "PAN"):
            self.add_module(f"DE_{name}", ResBlock(feat_dim))
        middle, args = nir_dim - 1, (guide_dim, mlp_dim)
        self.imnet_64 = ImplicitQuery(feat_dim, *args, middle, formulation)
        self.imnet_128 = ImplicitQuery(middle, *args, num_bands, formulation)

    def forward(self, pan, ms, lms):
        """(B, G, H, W), (B, C, h, w), (B, C, H, W) -> (B, C, H, W)."""
        ll, pan_hl, pan_lh, pan_hh = dwt(self.DE_pan(self.blk_1_32(pan)))
        _, ms_hl, ms_lh, ms_hh = dwt(self.DE_lms(self.blk_8_32(lms)))
        hl, lh = self.DE_HL(pan_hl + ms_hl), self.DE_LH(pan_lh + ms_lh)
        details = self.DE_HH_HH(hl + lh)
        details = self.DE_PAN(details + self.DE_HH(pan_hh + ms_hh))
        spatial = self.spatial_encoder(idwt(*(details + ll).chunk(4, 1)))
        middle = self.imnet_64(self.spectral_encoder(ms), F.max_pool2d(spatial, 2))
        return lms + self.imnet_128(middle, spatial)
