"""CF2N: details of the frequency domain, fused across space, spectrum and frequency.

CF2N, Geo-spatial Information Science, 2024, doi:10.1080/10095020.2024.2416899.

Reconstructed from the paper's framework figure; no reference implementation is public. From the
figure: the two RB heads, FD2R with its Haar subbands and the adaptive weighted fusions (AWF), the
split into high and low frequencies in every attention, FDA, SDA and FSM, the dynamic kernels and
their products, the iterated modules (FSCFM) and the injection of multiscale details (MDI). Ours:
the widths and counts, AWF's formula, the Gaussian split with its learnt cut-off, how planes become
kernels, the residual sums, and the details added to `lms` by a last convolution that starts at
zero, so that training starts from EXP.

Any band count, guide, ratio and size: the network sees `lms` and `pan` on one grid.
"""

from typing import ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from rsfusion_jax.errors import UserError
from rsfusion_jax.models.layers import Conv, leaky_relu, uniform_fan_in
from rsfusion_jax.ops.adaptive_conv import predicted_kernels, shared_kernels
from rsfusion_jax.ops.box import box_lowpass
from rsfusion_jax.ops.fft import irfft2, rfft2
from rsfusion_jax.ops.haar import Subbands, dwt, idwt

SPLITS = ("gaussian", "pool")
INITIAL_CUTOFF = 0.15  # cycles per pixel
MARGIN = 8  # pixels reflected around an image before its Fourier transform
LARGEST_MATRIX = 256
"""Pixels along a side up to which an image is low-passed by two products with matrices: on CPUs in
a quarter (64) to a third (256) of the time of a transform and back; with 512 both take as long."""
DETAIL_WINDOW = 5


class _Block(nn.Module):
    """What the blocks have in common: C channels, the kernels' side, dtype and precision."""

    channels: int = 32
    kernel: int = 3
    split: str = "gaussian"
    dtype: jnp.dtype | None = None
    precision: jax.lax.PrecisionLike = None

    @property
    def _same(self):
        names = ("channels", "kernel", "split", "dtype", "precision")
        return {name: getattr(self, name) for name in names}

    def _conv(self, features, name, size=3, **args):
        same = {"dtype": self.dtype, "precision": self.precision}
        return Conv(features, size, name=name, **args, **same)


class RB(_Block):
    """h + conv(LeakyReLU(conv(h))), h = conv(x): the figure's RB.

    Attributes:
        mean: whether only the mean over the channels is wanted, (B, H, W, 1).
    """

    mean: bool = False

    @nn.compact
    def __call__(self, x):
        """(B, H, W, n) -> (B, H, W, C)."""
        x = self._conv(self.channels, "head")(x)
        hidden = leaky_relu(self._conv(self.channels, "conv0")(x))
        if not self.mean:
            return x + self._conv(self.channels, "conv1")(hidden)
        hidden = self._conv(self.channels, "conv1", then=_mean_of_channels)(hidden)
        return x.mean(-1, keepdims=True) + hidden


class AWF(_Block):
    """Adaptive weighted fusion: complementary and unique information of two maps.

    Complementary: both maps, weighed per pixel and channel by a softmax over the two. Unique: a
    convolution of their difference. Vectors (B, 1, 1, C) are treated with 1x1 convolutions.
    """

    @nn.compact
    def __call__(self, a, b):
        """Two (B, H, W, C) -> (B, H, W, C)."""
        size = 1 if a.shape[1:3] == (1, 1) else 3
        both = jnp.concatenate([a, b], axis=-1)
        hidden = leaky_relu(self._conv(self.channels, "weights0", size)(both))
        # A softmax over two is a sigmoid of the difference: the second map's logits are not formed.
        logits = self._conv(2 * self.channels, "weights1", size, then=_difference)(hidden)
        of_a = nn.sigmoid(logits.astype(jnp.promote_types(logits.dtype, jnp.float32)))
        of_a = of_a.astype(a.dtype)
        complementary = of_a * a + (1 - of_a) * b
        return complementary + self._conv(self.channels, "unique", size)(a - b)


def _difference(kernel, bias):
    (k, minus_k), (b, minus_b) = (jnp.split(x, 2, axis=-1) for x in (kernel, bias))
    return k - minus_k, b - minus_b


def _mean_of_channels(kernel, bias):
    return kernel.mean(-1, keepdims=True), bias.mean(-1, keepdims=True)


class LowPass(nn.Module):
    """Gaussian low-pass in the Fourier domain; its cut-off in cycles per pixel is learnt.

    The image is reflected at its borders before the transform, so that nothing wraps around. The
    gain is a product of one along each axis: for a small image, reflection, transform, gain and
    way back are one small matrix per axis.
    """

    @nn.compact
    def __call__(self, x):
        """(B, H, W, n) -> the same, in at least float32."""
        # softplus(parameter) is the cut-off.
        start = jnp.log(jnp.expm1(INITIAL_CUTOFF))
        raw = self.param("cutoff", nn.initializers.constant(start), (1,))
        x = x.astype(jnp.promote_types(x.dtype, jnp.float32))
        cutoff = nn.softplus(raw).astype(x.dtype)
        filtered = _low_pass_by_matrices if max(x.shape[1:3]) <= LARGEST_MATRIX else _low_pass
        return filtered(x, cutoff)


def _low_pass(x, cutoff):
    height, width = x.shape[1:3]
    margins = [min(MARGIN, n - 1) for n in (height, width)]
    x = jnp.pad(x, ((0, 0), *((m, m) for m in margins), (0, 0)), mode="reflect")
    size = x.shape[1:3]
    rows, columns = jnp.fft.fftfreq(size[0]), jnp.fft.rfftfreq(size[1])
    gain = _gain(rows, cutoff)[:, None] * _gain(columns, cutoff)
    x = irfft2(gain[..., None] * rfft2(x, size), size)
    return x[:, margins[0] : margins[0] + height, margins[1] : margins[1] + width]


def _low_pass_by_matrices(x, cutoff):
    batch, height, width, channels = x.shape
    of_rows, of_columns = (_low_pass_matrix(n, cutoff) for n in (height, width))
    x = jnp.matmul(of_rows, x.reshape(batch, height, -1), precision="highest")
    x = x.reshape(batch, height, width, channels)
    return jnp.matmul(of_columns, x, precision="highest")


def _low_pass_matrix(n, cutoff):
    """(n, n): what `_low_pass` does along an axis of n pixels."""
    margin = min(MARGIN, n - 1)
    size = n + 2 * margin
    impulses = jnp.pad(jnp.eye(n, dtype=cutoff.dtype), ((margin, margin), (0, 0)), mode="reflect")
    gain = _gain(jnp.fft.rfftfreq(size), cutoff)[:, None]
    responses = jnp.fft.irfft(gain * jnp.fft.rfft(impulses, axis=0), size, axis=0)
    return responses[margin : margin + n]


def _gain(frequencies, cutoff):
    return jnp.exp(-jnp.square(frequencies.astype(cutoff.dtype) / cutoff) / 2)


class FrequencySplit(_Block):
    """The attentions' summaries of high and low frequencies.

    `split="pool"` is the other reading of the figure: mean for the low frequencies, maximum for the
    high ones.
    """

    @nn.compact
    def __call__(self, x, summary: str):
        """(B, H, W, n) -> "planes": (B, H, W, 2), "vectors": two (B, 1, 1, n); high first."""
        axes = -1 if summary == "planes" else (1, 2)
        if self.split == "pool":
            parts = [f(x, axis=axes, keepdims=True) for f in (jnp.max, jnp.mean)]
        elif summary == "planes":
            # The mean over channels commutes with the filter: one plane is filtered.
            mean = x.mean(-1, keepdims=True)
            low = LowPass(name="low_pass")(mean)
            parts = [mean - low, low]
        else:
            low = LowPass(name="low_pass")(x)
            rms = jnp.sqrt(jnp.square(x - low).mean(axes, keepdims=True) + 1e-12)
            parts = [rms, low.mean(axes, keepdims=True)]
        parts = [part.astype(x.dtype) for part in parts]
        return jnp.concatenate(parts, axis=-1) if summary == "planes" else parts


class FD2R(_Block):
    """Frequency-domain dominated detail reconstruction."""

    num_bands: int = 0

    @nn.compact
    def __call__(self, p, m):
        """Features of PAN and MS, (B, H, W, C) each -> F_f, (B, H, W, C); H and W even."""
        fused = Subbands(
            *(
                AWF(name=f"awf_{name}", **self._same)(of_p, of_m)
                for name, of_p, of_m in zip(Subbands._fields, dwt(p), dwt(m), strict=True)
            )
        )
        details = AWF(name="join_hl_lh", **self._same)(fused.hl, fused.lh)
        details = AWF(name="join_hh", **self._same)(details, fused.hh)
        details = AWF(name="join_ll", **self._same)(details, fused.ll)
        subbands = self._conv(4 * self.num_bands, "subbands", 1)(details)
        details = idwt(Subbands(*jnp.split(subbands, 4, axis=-1)))  # (B, H, W, bands)
        return leaky_relu(self._conv(self.channels, "encode")(details))


class FDA(_Block):
    """Frequency-domain attention: one k x k kernel per pixel, shared by the channels."""

    @nn.compact
    def __call__(self, features):
        """(B, H, W, C) -> (B, H, W, k k)."""
        taps = self.kernel**2
        # Of high and low frequencies by the filter the mean over the channels is all that is used.
        features = RB(name="rb", mean=self.split == "gaussian", **self._same)(features)
        planes = FrequencySplit(name="frequency", **self._same)(features, "planes")
        # Twice the sigmoid over the number of taps: a gain near one at the start.
        return 2 * nn.sigmoid(self._conv(taps, "conv")(planes)) / taps


class SDA(_Block):
    """Spectral-domain attention: one gain per channel."""

    @nn.compact
    def __call__(self, spectral):
        """(B, H, W, C) -> (B, 1, 1, C)."""
        features = self._conv(self.channels, "conv")(spectral)
        high, low = FrequencySplit(name="frequency", **self._same)(features, "vectors")
        return 2 * nn.sigmoid(AWF(name="awf", **self._same)(high, low))


class FSM(_Block):
    """Frequency-spatial module: what the kernel of every pixel and channel is made from."""

    @nn.compact
    def __call__(self, middle):
        """(B, H, W, C) -> (B, H, W, C)."""
        first = self._conv(self.channels, "conv0")(middle)
        second = self._conv(self.channels, "conv1")(first)
        both = jnp.concatenate([first, second], axis=-1)
        planes = FrequencySplit(name="frequency", **self._same)(both, "planes")
        masks = nn.sigmoid(self._conv(2, "masks", 7)(planes))
        return AWF(name="awf", **self._same)(first * masks[..., :1], second * masks[..., 1:])


class FSCFM(_Block):
    """Frequency-spectral cross fusion module.

    Attributes:
        use_fda, use_sda, use_fsm: parts that can be left out: the kernels are then the centre tap
            and the gains one.
    """

    use_fda: bool = True
    use_sda: bool = True
    use_fsm: bool = True

    @nn.compact
    def __call__(self, features, spectral):
        """F_f and F_s, (B, H, W, C) each -> (B, H, W, C)."""
        gains = SDA(name="sda", **self._same)(spectral) if self.use_sda else 1.0
        middle = features
        if self.use_fda:
            kernels = FDA(name="fda", **self._same)(features)
            middle = shared_kernels(features, kernels)
        middle = gains * middle
        if not self.use_fsm:
            return gains * middle
        source = FSM(name="fsm", **self._same)(middle)
        taps, channels = self.kernel**2, self.channels
        weights = self.param("kernel_weights", _small, (taps, source.shape[-1], channels))
        biases = self.param("kernel_biases", _centre_tap, (taps, channels))
        middle, source, weights, biases = nn.dtypes.promote_dtype(
            middle, source, weights, biases, dtype=self.dtype
        )
        out = predicted_kernels(middle, source, weights, biases, precision=self.precision)
        return gains * out


def _zeros(fan_in):
    return nn.initializers.zeros


def _small(key, shape, dtype=jnp.float32):
    return jax.random.normal(key, shape, dtype) / shape[-2] ** 0.5


def _centre_tap(key, shape, dtype=jnp.float32):
    return jnp.zeros(shape, dtype).at[shape[0] // 2].set(1)


class MDI(_Block):
    """Multiscale detail injection: the details of both images, fused m times."""

    steps: int = 1

    @nn.compact
    def __call__(self, pan, lms):
        """(B, H, W, G) and (B, H, W, bands) -> e, (B, H, W, C)."""
        of_pan, of_ms = (image - box_lowpass(image, DETAIL_WINDOW) for image in (pan, lms))
        details = RB(name="rb_pan", **self._same)(of_pan)
        for step in range(1, self.steps + 1):
            if step > 1:
                details = RB(name=f"rb{step}", **self._same)(details)
            spectral = RB(name=f"rb_ms{step}", **self._same)(of_ms)
            details = AWF(name=f"awf{step}", **self._same)(details, spectral)
        return details


class CF2N(nn.Module):
    """FD2R, then n times FSCFM with the injected details, then the sum with `lms`.

    Attributes:
        num_bands: C of the images.
        guide_bands: G.
        ratio: r; enters only through `lms`.
        channels: of the features.
        kernel: side k of the dynamic kernels, odd.
        n: fusion modules.
        m: steps of the detail branch.
        frequency_split: "gaussian", or "pool".
        use_fd2r: off, F_f is the RB of PAN alone.
        use_fda, use_sda, use_fsm: parts of every FSCFM.
        use_mdi: off, nothing is injected.
        dtype: compute dtype; None follows the inputs and parameters.
        precision: matrix-product precision, as `jax.lax.Precision`.
    """

    num_bands: int
    guide_bands: int = 1
    ratio: int = 4
    channels: int = 32
    kernel: int = 3
    n: int = 3
    m: int = 1
    frequency_split: str = "gaussian"
    use_fd2r: bool = True
    use_fda: bool = True
    use_sda: bool = True
    use_fsm: bool = True
    use_mdi: bool = True
    dtype: jnp.dtype | None = None
    precision: jax.lax.PrecisionLike = None

    predicts: ClassVar[str] = "fused"
    # The low-pass and the means over the image are global.
    receptive_field: ClassVar[None] = None

    @nn.compact
    def __call__(self, pan, ms, lms, train: bool = False):
        """Fuses a batch.

        Args:
            pan: (B, H, W, G) guide.
            ms: unused: its content is in `lms`.
            lms: (B, H, W, C) low-resolution image on the PAN grid.
            train: unused: the network has no dropout and no batch statistics.

        Returns:
            {"fused": (B, H, W, C)}, unclipped.

        Raises:
            UserError: an unknown `frequency_split`, an even `kernel`, or n or m below 1.
        """
        self._check()
        same = {
            "channels": self.channels,
            "kernel": self.kernel,
            "split": self.frequency_split,
            "dtype": self.dtype,
            "precision": self.precision,
        }
        args = {"dtype": self.dtype, "precision": self.precision}
        height, width = pan.shape[1:3]
        odd = ((0, 0), (0, height % 2), (0, width % 2), (0, 0))
        guide, low = (jnp.pad(image, odd, mode="symmetric") for image in (pan, lms))

        p, spectral = RB(name="rb_pan", **same)(guide), RB(name="rb_ms", **same)(low)
        features = p
        if self.use_fd2r:
            features = FD2R(num_bands=self.num_bands, name="fd2r", **same)(p, spectral)
        details = MDI(steps=self.m, name="mdi", **same)(guide, low) if self.use_mdi else None
        parts = {"use_fda": self.use_fda, "use_sda": self.use_sda, "use_fsm": self.use_fsm}
        for i in range(1, self.n + 1):
            fused = FSCFM(name=f"fscfm{i}", **parts, **same)(features, spectral)
            features = features + fused
            if details is not None:
                inject = Conv(self.channels, 1, init=self._share, name=f"inject{i}", **args)
                features = features + inject(details)
        fused = low + Conv(self.num_bands, init=_zeros, name="detail", **args)(features)
        return {"fused": fused[:, :height, :width]}

    def _share(self, fan_in: int):
        """PyTorch's default over n, so that the n injections together have its gain."""
        default = uniform_fan_in(fan_in)
        return lambda *args: default(*args) / self.n

    def _check(self):
        if self.frequency_split not in SPLITS:
            raise UserError(
                f"cf2n: frequency_split={self.frequency_split!r} is unknown; choose one of "
                f"{', '.join(SPLITS)}"
            )
        if self.kernel % 2 == 0 or min(self.kernel, self.n, self.m) < 1:
            raise UserError(
                f"cf2n: kernel={self.kernel} must be odd, n={self.n} and m={self.m} at least 1"
            )


Model = CF2N
