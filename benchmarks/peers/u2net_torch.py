"""U2Net in PyTorch: what `rsfusion_jax.models.u2net` is timed against.

The same function and, under the authors' names, the same parameters. "published" stores the pixels
x pixels matrix of every head, as the authors' code does; "best" uses PyTorch's fused attention.
PAN's height and width must be multiples of 4.
"""

from collections import OrderedDict

import torch.nn.functional as F
from torch import nn


class ResBlock(nn.Module):
    """Spatial residual block."""

    def __init__(self, channels, expansion):
        super().__init__()
        hidden = int(expansion * channels)
        self.conv0 = nn.Conv2d(channels, hidden, 3, padding=1)
        self.conv1 = nn.Conv2d(hidden, channels, 3, padding=1)

    def forward(self, x):
        """(B, c, H, W) -> the same."""
        return x + self.conv1(F.leaky_relu(self.conv0(x)))


class Down(nn.Module):
    """Halves the size and doubles the channels; one instance serves both streams."""

    def __init__(self, channels):
        super().__init__()
        self.conv = nn.Sequential(
            nn.Conv2d(channels, channels, 2, stride=2),
            nn.LeakyReLU(),
            nn.Conv2d(channels, 2 * channels, 1),
            nn.Conv2d(2 * channels, 2 * channels, 3, padding=1, groups=2 * channels),
            nn.LeakyReLU(),
        )

    def forward(self, x):
        """(B, c, H, W) -> (B, 2c, H/2, W/2)."""
        return self.conv(x)


class Up(nn.Module):
    """Doubles the size, halves the channels and adds the skip; one instance serves both streams."""

    def __init__(self, channels):
        super().__init__()
        half = channels // 2
        self.up1 = nn.Sequential(nn.ConvTranspose2d(channels, half, 2, stride=2), nn.LeakyReLU())
        self.conv = nn.Conv2d(half, half, 3, padding=1)

    def forward(self, x, skip):
        """(B, c, H, W), (B, c/2, 2H, 2W) -> (B, c/2, 2H, 2W)."""
        return F.leaky_relu(self.conv(self.up1(x) + skip))


class SpatialSpectralAttention(nn.Module):
    """Cross attention: spatial weights from the stream y, spectral ones from the stream x."""

    def __init__(self, channels, dim_head, formulation):
        super().__init__()
        self.formulation, self.heads = formulation, channels // dim_head
        inner = self.heads * dim_head
        self.sa1, self.sa2, self.se1, self.se2 = (
            nn.Linear(channels, inner, bias=False) for _ in range(4)
        )
        self.to_out = nn.Sequential(nn.Linear(inner, channels))

    def forward(self, x, y):
        """Two of (B, n, c) -> (B, n, c)."""
        projections = (self.sa1(y), self.sa2(y), self.se1(x), self.se2(x))
        y1, y2, x1, x2 = (
            z.unflatten(-1, (self.heads, -1)).transpose(1, 2) for z in projections
        )  # (B, heads, n, d)
        tokens, d = y1.shape[-2:]
        if self.formulation == "published":
            spatial = (y1 @ y2.mT / d**0.5).softmax(dim=-1) @ x1
        else:
            spatial = F.scaled_dot_product_attention(y1, y2, x1)
        weights = (x1.mT @ x2 / d**0.5 / (tokens / d)).softmax(dim=-1)  # (B, heads, d, d)
        return self.to_out((spatial * (y1 @ weights)).transpose(1, 2).flatten(2))


class PreNorm(nn.Module):
    """One normalisation for all inputs of a layer."""

    def __init__(self, channels, layer):
        super().__init__()
        self.norm, self.fn = nn.LayerNorm(channels), layer

    def forward(self, *streams):
        """Streams (B, n, c) -> (B, n, c)."""
        return self.fn(*(self.norm(stream) for stream in streams))


class Residual(nn.Module):
    """Adds the first input of a layer to what it returns."""

    def __init__(self, layer):
        super().__init__()
        self.fn = layer

    def forward(self, x, *others):
        """Streams (B, n, c) -> (B, n, c)."""
        return x + self.fn(x, *others)


class MLP(nn.Module):
    """Two linear layers per token."""

    def __init__(self, channels, hidden):
        super().__init__()
        # The authors' dropout, of rate 0, takes the third place.
        self.net = nn.Sequential(
            nn.Linear(channels, hidden), nn.LeakyReLU(), nn.Identity(), nn.Linear(hidden, channels)
        )

    def forward(self, x):
        """(B, n, c) -> the same."""
        return self.net(x)


class S2Block(nn.Module):
    """Spatial-spectral integration: attention of x to y, then an MLP."""

    def __init__(self, channels, dim_head, mlp_ratio, formulation):
        super().__init__()
        attention = SpatialSpectralAttention(channels, dim_head, formulation)
        mlp = MLP(channels, int(channels * mlp_ratio))
        layers = [Residual(PreNorm(channels, layer)) for layer in (attention, mlp)]
        self.layers = nn.ModuleList([nn.ModuleList(layers)])

    def forward(self, x, y):
        """Spectral and spatial stream (B, c, H, W) -> spectral stream (B, c, H, W)."""
        height, width = x.shape[-2:]
        attention, mlp = self.layers[0]
        x, y = (z.flatten(2).transpose(1, 2) for z in (x, y))
        return mlp(attention(x, y)).transpose(1, 2).unflatten(2, (height, width))


class U2Net(nn.Module):
    """Double U-Net; the arguments are the fields of `rsfusion_jax.models.u2net.U2Net`."""

    def __init__(
        self,
        num_bands,
        guide_bands=1,
        ratio=4,
        dim=32,
        dim_head=16,
        se_ratio_mlp=0.5,
        se_ratio_rb=0.5,
        formulation="best",
    ):
        super().__init__()
        enlarge = nn.Conv2d(num_bands, num_bands * ratio**2, 3, padding=1, bias=False)
        enlarge = nn.Sequential(enlarge, nn.PixelShuffle(ratio))
        self.upsample = nn.Sequential(OrderedDict(upsamle=enlarge))
        self.raise_ms_dim, self.raise_pan_dim = (
            nn.Sequential(nn.Conv2d(bands, dim, 3, padding=1), nn.LeakyReLU())
            for bands in (num_bands, guide_bands)
        )
        self.to_hrms = nn.Sequential(
            nn.Conv2d(dim, dim, 3, padding=1),
            nn.LeakyReLU(),
            nn.Conv2d(dim, num_bands, 3, padding=1),
        )
        self.s2block0, self.s2block1, self.s2block2, self.s2block3, self.s2block4 = (
            S2Block(scale * dim, dim_head, se_ratio_mlp, formulation) for scale in (1, 2, 4, 2, 1)
        )
        self.resblock0, self.resblock1, self.resblock2, self.resblock3 = (
            ResBlock(scale * dim, se_ratio_rb) for scale in (1, 2, 4, 2)
        )
        self.down0, self.down1 = Down(dim), Down(2 * dim)
        self.up0, self.up1 = Up(4 * dim), Up(2 * dim)

    def forward(self, pan, ms, lms=None):
        """(B, G, H, W), (B, C, H/r, W/r) -> fused (B, C, H, W); `lms` is not used."""
        upsampled = self.upsample(ms)
        x, y = self.raise_ms_dim(upsampled), self.raise_pan_dim(pan)
        x0, y0 = self.s2block0(x, y), self.resblock0(y)
        x, y = self.down0(x0), self.down0(y0)
        x1, y1 = self.s2block1(x, y), self.resblock1(y)
        x, y = self.down1(x1), self.down1(y1)
        x, y = self.s2block2(x, y), self.resblock2(y)
        x, y = self.up0(x, x1), self.up0(y, y1)
        x, y = self.s2block3(x, y), self.resblock3(y)
        x, y = self.up1(x, x0), self.up1(y, y0)
        return self.to_hrms(self.s2block4(x, y)) + upsampled
