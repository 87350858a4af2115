"""DDIF's denoiser in PyTorch: what `rsfusion_jax.models.ddif` is timed against.

The same function and, under the authors' names, the same parameters. "published" resizes the
condition in every block and stores the pixels x pixels matrices of the self-attention; "best"
resizes once per level and uses PyTorch's fused attention. Height and width must be multiples of
2 ** (levels - 1).
"""

import math
from collections import OrderedDict

import torch
import torch.nn.functional as F
from torch import nn

HEADS = 8
DROP_PATH = 0.2


class CoarseStyleModulation(nn.Module):
    """Encoder's modulation: a scale and a shift of every pixel, from `lms` and `pan`."""

    def __init__(self, inputs, cond, features, norm_groups):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(cond, 4 * features, 3, padding=1, bias=False),
            nn.GroupNorm(norm_groups, 4 * features),
            nn.SiLU(),
            nn.Conv2d(4 * features, 2 * features, 1),
        )
        nn.init.zeros_(self.body[3].weight)
        nn.init.zeros_(self.body[3].bias)
        self.x_conv = nn.Conv2d(inputs, features, 1)

    def forward(self, x, cond):
        """(B, c, H, W), (B, K, H, W) -> (B, features, H, W)."""
        scale, shift = self.body(cond).chunk(2, dim=1)
        return self.x_conv(x) * (1 + scale) + shift


class WaveletModulation(nn.Module):
    """Decoder's modulation: linear attention of the features to the wavelets."""

    def __init__(self, inputs, cond, features, norm_groups):
        super().__init__()
        self.prenorm_x = nn.GroupNorm(norm_groups, inputs)
        self.q, self.kv = (
            nn.Sequential(
                nn.Conv2d(source, source, 3, padding=1, groups=source, bias=False),
                nn.Conv2d(source, width, 1),
            )
            for source, width in ((inputs, inputs), (cond, 2 * inputs))
        )
        self.attn_out = nn.Conv2d(inputs, features, 1)
        self.attn_res = nn.Identity() if inputs == features else nn.Conv2d(inputs, features, 1)
        self.ffn = nn.Sequential(
            nn.Conv2d(features, 2 * features, 3, padding=1, bias=False),
            nn.SiLU(),
            nn.Conv2d(2 * features, features, 3, padding=1, bias=False),
            nn.Conv2d(features, features, 1),
        )

    def forward(self, x, cond):
        """(B, c, H, W), (B, K, H, W) -> (B, features, H, W)."""
        x = self.prenorm_x(x)
        query = self.q(x).softmax(dim=-2)
        key, value = self.kv(cond).chunk(2, dim=1)
        key = key.softmax(dim=-1)
        size = x.shape[-2:]
        query, key, value = (a.unflatten(1, (HEADS, -1)).flatten(3) for a in (query, key, value))
        context = key @ value.mT / math.sqrt(key.shape[2])  # (B, heads, d, d)
        mixed = (context.mT @ query).flatten(1, 2).unflatten(2, size)
        x = self.attn_out(mixed) + self.attn_res(x)
        # DropPath: the branch of a whole sample is left out.
        kept = F.dropout(x.new_ones(len(x), 1, 1, 1), DROP_PATH, self.training)
        return x + kept * self.ffn(x)


class Block(nn.Module):
    """Normalised convolution."""

    def __init__(self, inputs, features, norm_groups, dropout=0.0):
        super().__init__()
        self.block = nn.Sequential(
            nn.GroupNorm(norm_groups, inputs),
            nn.SiLU(),
            nn.Dropout(dropout),
            nn.Conv2d(inputs, features, 3, padding=1),
        )

    def forward(self, x):
        """(B, c, H, W) -> (B, features, H, W)."""
        return self.block(x)


class ResBlock(nn.Module):
    """Two normalised convolutions, the noise level added between them."""

    def __init__(self, features, level, norm_groups, dropout):
        super().__init__()
        noise = nn.Sequential(nn.Linear(level, features))
        self.noise_func = nn.Sequential(OrderedDict(noise_func=noise))
        self.block1 = Block(features, features, norm_groups)
        self.block2 = Block(features, features, norm_groups, dropout)

    def forward(self, x, level):
        """(B, c, H, W), (B, E) -> (B, c, H, W)."""
        y = self.block1(x) + self.noise_func(level)[:, :, None, None]
        return self.block2(y) + x


class SelfAttention(nn.Module):
    """Attention over all pixels, scaled by the square root of all channels, not of a head's."""

    def __init__(self, channels, norm_groups, formulation):
        super().__init__()
        self.formulation = formulation
        self.norm = nn.GroupNorm(norm_groups, channels)
        self.qkv = nn.Conv2d(channels, 3 * channels, 1, bias=False)
        self.out = nn.Conv2d(channels, channels, 1)

    def forward(self, x):
        """(B, c, H, W) -> the same."""
        channels, *size = x.shape[1:]
        qkv = self.qkv(self.norm(x)).unflatten(1, (HEADS, -1)).flatten(3)
        query, key, value = qkv.chunk(3, dim=2)  # (B, heads, d, n)
        if self.formulation == "published":
            logits = torch.einsum("bhdn,bhdm->bhnm", query, key) / math.sqrt(channels)
            mixed = torch.einsum("bhnm,bhdm->bhdn", logits.softmax(dim=-1), value)
        else:
            scale = 1 / math.sqrt(channels)
            mixed = F.scaled_dot_product_attention(query.mT, key.mT, value.mT, scale=scale).mT
        return x + self.out(mixed.flatten(1, 2).unflatten(2, size))


class ModulatedBlock(nn.Module):
    """Modulation (or none), residual block, self-attention (or none)."""

    def __init__(self, features, level, attends, norm_groups, dropout, formulation, modulation):
        super().__init__()
        self.formulation, self.cond_inj = formulation, modulation
        self.res_block = ResBlock(features, level, norm_groups, dropout)
        self.attn = SelfAttention(features, norm_groups, formulation) if attends else None

    def forward(self, x, level, cond=None):
        """(B, c, H, W), (B, E), (B, K, H', W') -> (B, features, H, W)."""
        if self.cond_inj is not None:
            if self.formulation == "published":
                cond = F.interpolate(cond, x.shape[-2:], mode="bilinear")
            x = self.cond_inj(x, cond)
        x = self.res_block(x, level)
        return x if self.attn is None else self.attn(x)


class Downsample(nn.Module):
    """Convolution that halves the size."""

    def __init__(self, channels):
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, stride=2, padding=1)

    def forward(self, x):
        """(B, c, H, W) -> (B, c, H/2, W/2)."""
        return self.conv(x)


class Upsample(nn.Module):
    """Every pixel four times, then a convolution."""

    def __init__(self, channels):
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x):
        """(B, c, H, W) -> (B, c, 2H, 2W)."""
        return self.conv(F.interpolate(x, scale_factor=2, mode="nearest"))


class TimeEmbedding(nn.Module):
    """Sines, then cosines of t / 10000 ** (k / K), k = 0 .. K - 1, K = features / 2."""

    def __init__(self, features):
        super().__init__()
        powers = torch.arange(features // 2, dtype=torch.float64) / (features // 2)
        frequencies = torch.exp(-math.log(1e4) * powers).float()
        self.register_buffer("frequencies", frequencies, persistent=False)

    def forward(self, t):
        """(B,) -> (B, features)."""
        angles = t[:, None] * self.frequencies
        return torch.cat([angles.sin(), angles.cos()], dim=-1)


class DDIF(nn.Module):
    """The denoiser; the arguments are the fields of `rsfusion_jax.models.ddif.DDIF`.

    `ratio` belongs to the images that `lms` was made of, and changes nothing.
    """

    def __init__(
        self,
        num_bands,
        guide_bands=1,
        ratio=4,
        inner_channel=32,
        norm_groups=1,
        channel_mults=(1, 2, 2, 4),
        attn_res=(8,),
        res_blocks=3,
        dropout=0.2,
        image_size=64,
        self_condition=True,
        fourier_features=False,
        fourier_min=7,
        fourier_max=8,
        formulation="best",
    ):
        super().__init__()
        self.formulation, self.self_condition = formulation, self_condition
        self.cond_channels = (num_bands + guide_bands, num_bands + 3 * guide_bands)
        self.exponents = range(fourier_min, fourier_max) if fourier_features else ()
        self.noise_level_mlp = nn.Sequential(
            TimeEmbedding(inner_channel),
            nn.Linear(inner_channel, 4 * inner_channel),
            nn.SiLU(),
            nn.Linear(4 * inner_channel, inner_channel),
        )
        widths = [mult * inner_channel for mult in channel_mults]
        attends = [image_size / 2**i in attn_res for i in range(len(widths))]

        def block(features, attends, modulation=None):
            shared = (norm_groups, dropout, formulation)
            return ModulatedBlock(features, inner_channel, attends, *shared, modulation)

        inputs = num_bands * (2 if self_condition else 1) * (1 + 2 * len(self.exponents))
        downs, skips = [nn.Conv2d(inputs, inner_channel, 3, padding=1)], [inner_channel]
        for i, features in enumerate(widths):
            for _ in range(res_blocks):
                sizes = (skips[-1], self.cond_channels[0], features, norm_groups)
                downs.append(block(features, attends[i], CoarseStyleModulation(*sizes)))
                skips.append(features)
            if i + 1 < len(widths):
                downs.append(Downsample(features))
                skips.append(features)
        ups, inputs = [], widths[-1]
        for i, features in reversed(list(enumerate(widths))):
            for _ in range(res_blocks + 1):
                sizes = (inputs + skips.pop(), self.cond_channels[1], features, norm_groups)
                ups.append(block(features, attends[i], WaveletModulation(*sizes)))
                inputs = features
            if i:
                ups.append(Upsample(features))
        self.downs, self.ups = nn.ModuleList(downs), nn.ModuleList(ups)
        self.mid = nn.ModuleList([block(widths[-1], True), block(widths[-1], False)])
        self.levels = len(widths)
        self.final_conv = Block(widths[0], num_bands, norm_groups)

    def forward(self, x_t, t, pan, lms, x_self=None):
        """(B, C, H, W), (B,), (B, G, H, W), (B, C, H, W) -> prediction (B, C, H, W)."""
        return self.denoise(x_t, t, wavelet_condition(pan, lms), x_self)

    def denoise(self, x_t, t, cond, x_self=None):
        """`forward` with the condition (B, 2 C + 4 G, H, W) at hand."""
        if self.self_condition:
            x_t = torch.cat([x_t if x_self is None else x_self, x_t], dim=1)
        if self.exponents:
            x_t = fourier_features(x_t, self.exponents)
        level = self.noise_level_mlp(t)
        images, wavelets = (self._pyramid(part) for part in cond.split(self.cond_channels, dim=1))

        first, *downs = self.downs
        x = first(x_t)
        depth, skips = 0, [x]
        for layer in downs:
            if isinstance(layer, Downsample):
                x, depth = layer(x), depth + 1
            else:
                x = layer(x, level, images[depth])
            skips.append(x)
        for layer in self.mid:
            x = layer(x, level)
        for layer in self.ups:
            if isinstance(layer, Upsample):
                x, depth = layer(x), depth - 1
            else:
                x = layer(torch.cat([x, skips.pop()], dim=1), level, wavelets[depth])
        return self.final_conv(x)

    def _pyramid(self, cond):
        """The condition of every level; in the published form the blocks do the resizing."""
        if self.formulation == "published":
            return [cond] * self.levels
        height, width = cond.shape[-2:]
        sizes = [(height >> i, width >> i) for i in range(1, self.levels)]
        return [cond, *(F.interpolate(cond, size, mode="bilinear") for size in sizes)]


def wavelet_condition(pan, lms):
    """lms, pan, LL of lms and the details of pan, as `rsfusion_jax.models.ddif` orders them.

    (B, G, H, W), (B, C, H, W), H and W even -> (B, 2 C + 4 G, H, W).
    """
    # Every block [[a, b], [c, d]] of two by two pixels.
    a, b, c, d = (pan[..., i::2, j::2] / 2 for i in (0, 1) for j in (0, 1))
    horizontal, vertical, diagonal = a + b - c - d, a - b + c - d, a - b - c + d
    last = (diagonal, vertical) if pan.shape[1] == 1 else (vertical, diagonal)
    wavelets = torch.cat([2 * F.avg_pool2d(lms, 2), horizontal, *last], dim=1)
    wavelets = F.interpolate(wavelets, lms.shape[-2:], mode="bilinear")
    return torch.cat([lms, pan, wavelets], dim=1)


def fourier_features(x, exponents):
    """Adds sin(2 pi 2**f x) of all channels and exponents, then the cosines.

    (B, c, H, W), n exponents f -> (B, c (1 + 2 n), H, W).
    """
    angles = torch.stack([2 * math.pi * 2.0**f * x for f in exponents], dim=2).flatten(1, 2)
    return torch.cat([x, angles.sin(), angles.cos()], dim=1)
