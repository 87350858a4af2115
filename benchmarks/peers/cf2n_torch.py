"""CF2N in PyTorch: `rsfusion_jax.models.cf2n` with the names that `rsfusion_jax.porting` gives.

The reconstruction whole: the ablations are left out. No PyTorch code is published; "published" is
how the same authors write their other networks: windows unfolded, kernels of all pixels formed,
every channel filtered before the mean over channels.
"""

import torch
import torch.nn.functional as F
from torch import nn

from benchmarks.peers.haar_torch import dwt, idwt

MARGIN = 8


def conv(inputs, outputs, size=3):
    return nn.Conv2d(inputs, outputs, size, padding=size // 2)


class RB(nn.Module):
    """h + conv(LeakyReLU(conv(h))), h = conv(x)."""

    def __init__(self, inputs, channels):
        super().__init__()
        self.head = conv(inputs, channels)
        self.conv0, self.conv1 = conv(channels, channels), conv(channels, channels)

    def forward(self, x):
        x = self.head(x)
        return x + self.conv1(F.leaky_relu(self.conv0(x)))


class AWF(nn.Module):
    """Two maps weighed by a softmax over the two, and a convolution of their difference."""

    def __init__(self, channels, size=3):
        super().__init__()
        self.weights0 = conv(2 * channels, channels, size)
        self.weights1 = conv(channels, 2 * channels, size)
        self.unique = conv(channels, channels, size)

    def forward(self, a, b):
        logits = self.weights1(F.leaky_relu(self.weights0(torch.cat([a, b], 1))))
        of_a, of_b = logits.unflatten(1, (2, -1)).softmax(1).unbind(1)
        return of_a * a + of_b * b + self.unique(a - b)


class LowPass(nn.Module):
    """Gaussian in the Fourier domain with a learnt cut-off; in at least float32."""

    def __init__(self):
        super().__init__()
        self.cutoff = nn.Parameter(torch.full((1,), 0.15).expm1().log())

    def forward(self, x):
        height, width = x.shape[-2:]
        down, right = (min(MARGIN, n - 1) for n in (height, width))
        x = x.to(torch.promote_types(x.dtype, torch.float32))
        x = F.pad(x, (right, right, down, down), mode="reflect")
        size = x.shape[-2:]
        rows = torch.fft.fftfreq(size[0], dtype=x.dtype, device=x.device)
        columns = torch.fft.rfftfreq(size[1], dtype=x.dtype, device=x.device)
        squared = rows[:, None] ** 2 + columns**2
        gain = (-squared / (2 * F.softplus(self.cutoff) ** 2)).exp()
        x = torch.fft.irfft2(gain * torch.fft.rfft2(x), s=size)
        return x[..., down : down + height, right : right + width]


class FrequencySplit(nn.Module):
    """What attentions see of high and low frequencies."""

    def __init__(self, formulation):
        super().__init__()
        self.mean_last = formulation == "published"
        self.low_pass = LowPass()

    def planes(self, x):
        """Means over the channels, which commute with the filter: (B, n, H, W) -> (B, 2, H, W)."""
        if self.mean_last:
            low = self.low_pass(x)
            parts = (x - low).mean(1, keepdim=True), low.mean(1, keepdim=True)
        else:
            x = x.mean(1, keepdim=True)
            low = self.low_pass(x)
            parts = x - low, low
        return torch.cat(parts, 1).to(x.dtype)

    def vectors(self, x):
        """RMS of the high and mean of the low frequencies: two (B, n, 1, 1)."""
        low = self.low_pass(x)
        high = (x - low).square().mean((-2, -1), keepdim=True)
        return (high + 1e-12).sqrt().to(x.dtype), low.mean((-2, -1), keepdim=True).to(x.dtype)


class FD2R(nn.Module):
    """Frequency-domain dominated detail reconstruction."""

    def __init__(self, num_bands, channels):
        super().__init__()
        self.awf_ll, self.awf_hl, self.awf_lh, self.awf_hh = (AWF(channels) for _ in range(4))
        self.join_hl_lh, self.join_hh, self.join_ll = (AWF(channels) for _ in range(3))
        self.subbands = conv(channels, 4 * num_bands, 1)
        self.encode = conv(num_bands, channels)

    def forward(self, p, m):
        fusions = self.awf_ll, self.awf_hl, self.awf_lh, self.awf_hh
        pairs = zip(fusions, dwt(p), dwt(m), strict=True)
        ll, hl, lh, hh = (fuse(of_p, of_m) for fuse, of_p, of_m in pairs)
        details = self.join_ll(self.join_hh(self.join_hl_lh(hl, lh), hh), ll)
        return F.leaky_relu(self.encode(idwt(*self.subbands(details).chunk(4, 1))))


class FDA(nn.Module):
    """One kernel per pixel: (B, C, H, W) -> (B, k k, H, W)."""

    def __init__(self, channels, kernel, formulation):
        super().__init__()
        self.rb = RB(channels, channels)
        self.frequency = FrequencySplit(formulation)
        self.conv = conv(2, kernel**2)

    def forward(self, x):
        kernels = self.conv(self.frequency.planes(self.rb(x)))
        return 2 * kernels.sigmoid() / kernels.shape[1]


class SDA(nn.Module):
    """One gain per channel: (B, C, H, W) -> (B, C, 1, 1)."""

    def __init__(self, channels, formulation):
        super().__init__()
        self.conv = conv(channels, channels)
        self.frequency = FrequencySplit(formulation)
        self.awf = AWF(channels, 1)

    def forward(self, x):
        return 2 * self.awf(*self.frequency.vectors(self.conv(x))).sigmoid()


class FSM(nn.Module):
    """What the kernel of every pixel and channel is made from."""

    def __init__(self, channels, formulation):
        super().__init__()
        self.conv0, self.conv1 = conv(channels, channels), conv(channels, channels)
        self.frequency = FrequencySplit(formulation)
        self.masks = conv(2, 2, 7)
        self.awf = AWF(channels)

    def forward(self, x):
        first = self.conv0(x)
        second = self.conv1(first)
        masks = self.masks(self.frequency.planes(torch.cat([first, second], 1))).sigmoid()
        return self.awf(first * masks[:, :1], second * masks[:, 1:])


class FSCFM(nn.Module):
    """Frequency-spectral cross fusion module."""

    def __init__(self, channels, kernel, formulation):
        super().__init__()
        self.sum_windows = _sum_unfolded if formulation == "published" else _sum_shifted
        self.fda, self.sda = FDA(channels, kernel, formulation), SDA(channels, formulation)
        self.fsm = FSM(channels, formulation)
        taps = kernel**2
        self.kernel_weights = nn.Parameter(torch.randn(taps, channels, channels) / channels**0.5)
        self.kernel_biases = nn.Parameter(torch.zeros(taps, channels))
        nn.init.ones_(self.kernel_biases[taps // 2])

    def forward(self, features, spectral):
        gains = self.sda(spectral)
        middle = gains * self.sum_windows(features, self.fda(features)[:, :, None])
        matrix = self.kernel_weights.transpose(1, 2).flatten(0, 1)[..., None, None]
        kernels = F.conv2d(self.fsm(middle), matrix, self.kernel_biases.flatten())
        kernels = kernels.unflatten(1, self.kernel_biases.shape)  # (B, k k, C, H, W)
        return gains * self.sum_windows(middle, kernels)


def _sum_unfolded(x, kernels):
    """y[p, c] = sum_o kernels[o, c, p] x[c, p + o], zeros beyond the border."""
    side = round(kernels.shape[1] ** 0.5)
    windows = F.unfold(x, side, padding=side // 2).unflatten(1, (x.shape[1], -1))
    return (windows.transpose(1, 2).unflatten(-1, x.shape[-2:]) * kernels).sum(1)


def _sum_shifted(x, kernels):
    height, width = x.shape[-2:]
    side = round(kernels.shape[1] ** 0.5)
    x = F.pad(x, (side // 2,) * 4)
    total = 0
    for tap, kernel in enumerate(kernels.unbind(1)):
        row, column = divmod(tap, side)
        total = total + kernel * x[..., row : row + height, column : column + width]
    return total


class MDI(nn.Module):
    """Multiscale detail injection: the details of both images, fused m times."""

    def __init__(self, num_bands, guide_bands, channels, steps):
        super().__init__()
        self.steps = steps
        self.rb_pan = RB(guide_bands, channels)
        for step in range(1, steps + 1):
            if step > 1:
                self.add_module(f"rb{step}", RB(channels, channels))
            self.add_module(f"rb_ms{step}", RB(num_bands, channels))
            self.add_module(f"awf{step}", AWF(channels))

    def forward(self, pan, lms):
        of_pan, of_ms = (
            image - F.avg_pool2d(F.pad(image, (2, 2, 2, 2), mode="reflect"), 5, stride=1)
            for image in (pan, lms)
        )
        details = self.rb_pan(of_pan)
        for step in range(1, self.steps + 1):
            if step > 1:
                details = getattr(self, f"rb{step}")(details)
            details = getattr(self, f"awf{step}")(details, getattr(self, f"rb_ms{step}")(of_ms))
        return details


class CF2N(nn.Module):
    """FD2R, then n times FSCFM with the injected details, then the sum with `lms`."""

    def __init__(
        self,
        num_bands,
        guide_bands=1,
        ratio=4,
        channels=32,
        kernel=3,
        n=3,
        m=1,
        formulation="best",
    ):
        super().__init__()
        self.n = n
        self.rb_pan, self.rb_ms = RB(guide_bands, channels), RB(num_bands, channels)
        self.fd2r = FD2R(num_bands, channels)
        self.mdi = MDI(num_bands, guide_bands, channels, m)
        for i in range(1, n + 1):
            self.add_module(f"fscfm{i}", FSCFM(channels, kernel, formulation))
            self.add_module(f"inject{i}", conv(channels, channels, 1))
        self.detail = conv(channels, num_bands)

    def forward(self, pan, ms, lms):
        """(B, G, H, W), unused, (B, C, H, W) -> (B, C, H, W)."""
        height, width = pan.shape[-2:]
        odd = (0, width % 2, 0, height % 2)
        pan, lms = (F.pad(image, odd, mode="replicate") for image in (pan, lms))
        spectral = self.rb_ms(lms)
        features = self.fd2r(self.rb_pan(pan), spectral)
        details = self.mdi(pan, lms)
        for i in range(1, self.n + 1):
            fused = getattr(self, f"fscfm{i}")(features, spectral)
            features = features + fused + getattr(self, f"inject{i}")(details)
        return (lms + self.detail(features))[..., :height, :width]
