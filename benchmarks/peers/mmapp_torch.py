"""MMAPP in PyTorch: `rsfusion_jax.models.mmapp` with the authors' names of tensors.

A state dict of the authors loads with `strict=False`: what it holds beyond, F3, is never used.
Parameters start as PyTorch has them, not as the authors' initialiser.
"""

import torch
import torch.nn.functional as F
from torch import nn

from benchmarks.peers.adaptive_torch import HEADS, TAPS, AdaptiveConv, WindowedAttention

CHANNELS = 32


class ACmix(WindowedAttention):
    """Windowed attention and a convolution of the same projections: (B, n, H, W) -> (B, 9, H, W).

    The convolution mixes the nine heads of q, k and v by `fc`, alike for the three components, and
    filters each component on its own by a group of `dep_conv`.
    """

    def __init__(self, inputs, formulation):
        super().__init__(inputs, formulation)
        self.fc = nn.Conv2d(TAPS, TAPS, 1, bias=False)
        self.dep_conv = nn.Conv2d(3 * TAPS, TAPS, 3, padding=1, groups=HEADS, bias=False)
        self.rate1, self.rate2 = (nn.Parameter(torch.full((1,), 0.5)) for _ in range(2))

    def forward(self, x):
        attended, projections = self.attend(x)
        convolve = self._convolve_mixed if self.unfolded else self._convolve
        return self.rate1 * attended + self.rate2 * convolve(projections)

    def _convolve_mixed(self, projections):
        heads = projections.unflatten(1, (TAPS, -1)).flatten(3)  # (B, 9, 3, H W)
        mixed = self.fc(heads).transpose(1, 2).flatten(1, 2)  # component by component
        return self.dep_conv(mixed.unflatten(-1, projections.shape[-2:]))

    def _convolve(self, projections):
        """One dense convolution: two linear maps without bias in a row are one."""
        filters = self.dep_conv.weight.unflatten(0, (HEADS, -1))
        own = torch.eye(HEADS, dtype=filters.dtype, device=filters.device)
        kernel = torch.einsum("cijyx,jh,cd->cihdyx", filters, self.fc.weight[..., 0, 0], own)
        return F.conv2d(projections, kernel.flatten(2, 3).flatten(0, 1), padding=1)


def _of_pixels(inputs, width):
    layers = [nn.Conv2d(inputs, width, 3, padding=1)]
    for _ in range(2):
        layers += [nn.ReLU(), nn.Conv2d(width, width, 1)]
    return nn.Sequential(*layers)


def _of_mean(inputs, width):
    pool = nn.AdaptiveAvgPool2d(1)
    return nn.Sequential(pool, nn.Conv2d(inputs, width, 1), nn.ReLU(), nn.Conv2d(width, width, 1))


class AFM(AdaptiveConv):
    """Taps weighted by attention at every pixel and by the image's mean."""

    def __init__(self, inputs, outputs, formulation):
        super().__init__(inputs, outputs, formulation)
        first, *others = (ACmix(n, formulation) for n in (inputs, TAPS, TAPS))
        later = [layer for acmix in others for layer in (nn.ReLU(), acmix)]
        self.attention1 = nn.Sequential(first, *later)
        self.attention2 = _of_mean(inputs, TAPS)

    def forward(self, x):
        return self.convolve(x, self.attention1(x).sigmoid() * self.attention2(x))


class TSAM(AdaptiveConv):
    """Taps weighted at every pixel, a bias from the image's mean."""

    def __init__(self, inputs, outputs, formulation):
        super().__init__(inputs, outputs, formulation)
        self.attention1, self.attention3 = _of_pixels(inputs, TAPS), _of_mean(inputs, outputs)

    def forward(self, x):
        return self.convolve(x, self.attention1(x).sigmoid()) + self.attention3(x)


class SICM(AdaptiveConv):
    """Taps weighted by the image's mean, a bias at every pixel."""

    def __init__(self, inputs, outputs, formulation):
        super().__init__(inputs, outputs, formulation)
        self.attention1, self.attention3 = _of_mean(inputs, TAPS), _of_pixels(inputs, outputs)

    def forward(self, x):
        return self.convolve(x, self.attention1(x)) + self.attention3(x).sigmoid()


class ResidualUnit(nn.Module):
    """x + M(ReLU(M(x)))."""

    def __init__(self, module, channels, formulation):
        super().__init__()
        self.conv1 = module(channels, channels, formulation)
        self.conv2 = module(channels, channels, formulation)

    def forward(self, x):
        return x + self.conv2(self.conv1(x).relu())


class PS(nn.Module):
    """Convolution and pixel shuffle: twice the size."""

    def __init__(self, channels):
        super().__init__()
        self.conv_up1 = nn.Conv2d(channels, 4 * channels, 3, padding=1)

    def forward(self, x):
        return F.pixel_shuffle(self.conv_up1(x), 2)


def _units(module, prefix, count, channels, formulation):
    units = nn.Sequential()
    for i in range(1, count + 1):
        units.add_module(f"{prefix}{i}", ResidualUnit(module, channels, formulation))
    return nn.Sequential(units)


class Branch(nn.Module):
    """An image's features at the size of each stage, as C bands.

    Of PAN by TSAMs and pooling, of MS by SICMs and pixel shuffles.
    """

    def __init__(self, down, inputs, num_bands, stages, formulation):
        super().__init__()
        self.down, self.stages = down, stages
        module, prefix = (TSAM, "SpaRB") if down else (SICM, "SpeRB")
        self.head_conv = module(inputs, CHANNELS, formulation)
        for stage in range(1, stages + 1):
            if stage > 1:
                self.add_module(self._mid(stage), module(CHANNELS, CHANNELS, formulation))
            self.add_module(f"E{stage}", _units(module, prefix, 1, CHANNELS, formulation))
            if not down:
                self.add_module(f"up{stage}", PS(CHANNELS))
            self.add_module(self._out(stage), module(CHANNELS, num_bands, formulation))

    def _mid(self, stage):
        return f"mid_conv{stage if stage > 2 else ''}"

    def _out(self, stage):
        return f"conv_{'d' if self.down else 'u'}{2**stage}_out"

    def forward(self, image):
        """(B, n, H, W) -> list of (B, C, H', W'), halved or doubled from one to the next."""
        outputs = []
        x = skip = self.head_conv(image).relu()
        for stage in range(1, self.stages + 1):
            if stage > 1:
                x = getattr(self, self._mid(stage))(skip).relu()
            x = (getattr(self, f"E{stage}")(x) + skip).relu()
            skip = F.max_pool2d(x, 2) if self.down else getattr(self, f"up{stage}")(x).relu()
            outputs.append(getattr(self, self._out(stage))(skip))
        return outputs


class MMAPP(nn.Module):
    """The three branches; the image is built from coarse to fine. `ratio` is 2, 4 or 8."""

    def __init__(self, num_bands, guide_bands=1, ratio=4, blocks=5, formulation="best"):
        super().__init__()
        self.count = count = ratio.bit_length() - 1
        self.pb = Branch(True, guide_bands, num_bands, count, formulation)
        self.mb = Branch(False, num_bands, num_bands, count, formulation)
        self.head_conv = AFM(2 * num_bands, CHANNELS, formulation)
        self.head_relu = nn.PReLU()
        width = CHANNELS
        for stage in range(1, count + 1):
            self.add_module(f"F{stage}", _units(AFM, "RB", blocks, width, formulation))
            self.add_module(f"conv_f{stage}", nn.Conv2d(width, num_bands, 3, padding=1))
            self.add_module(f"up{stage}", PS(width))
            width += 2 * num_bands if stage < count else 0
        self.add_module(f"conv_f{count + 1}", nn.Conv2d(width, num_bands, 3, padding=1))
        tail = AFM(2 * num_bands + guide_bands, num_bands, formulation)
        self.tail_conv = nn.Sequential(tail, nn.ReLU(), AFM(num_bands, num_bands, formulation))

    def forward(self, pan, ms, lms):
        """(B, G, H, W), (B, C, h, w), unused -> (B, C, H, W)."""
        return self.outputs(pan, ms)["fused"]

    def outputs(self, pan, ms):
        """What the loss of deep supervision is taken of: "fused", "stages", "ms_up"."""
        pan_down, ms_up, stages = self.pb(pan), self.mb(ms), []
        x = self.head_relu(self.head_conv(torch.cat([ms, pan_down[-1]], 1)))
        for stage in range(1, self.count + 1):
            x = getattr(self, f"F{stage}")(x)
            stages.append(getattr(self, f"conv_f{stage}")(x))
            x = F.leaky_relu(getattr(self, f"up{stage}")(x), 0.2)
            if stage < self.count:
                x = torch.cat([x, ms_up[stage - 1], pan_down[-1 - stage]], 1)
        x = getattr(self, f"conv_f{self.count + 1}")(x)
        fused = self.tail_conv(torch.cat([x, pan, ms_up[-1]], 1))
        return {"fused": fused, "stages": stages, "ms_up": ms_up[-1]}
