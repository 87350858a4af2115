"""CF2N: details of the frequency domain, fused across space, spectrum and frequency.

CF2N, Geo-spatial Information Science, 2024, doi:10.1080/10095020.2024.2416899.

Reconstructed from the paper's framework figure; no reference implementation is public. 808,292
parameters at 8 bands and one PAN band. From the figure: the two RB heads, FD2R with its Haar
subbands and the adaptive weighted fusions (AWF), the split into high and low frequencies in every
attention, FDA, SDA and FSM, the dynamic kernels and their products, the iterated modules (FSCFM)
and the injection of multiscale details (MDI). Ours: the widths and counts, AWF's formula, the
Gaussian split with its learnt cut-off, how planes become kernels, the residual sums, and the
details added to `lms` by a last convolution that starts at zero, so that training starts from EXP.

Any band count, guide, ratio and size: the network uses `lms` and `pan`, on one grid.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from rsfusion_jax.errors import UserError
from rsfusion_jax.models.layers import Conv, at_least_float32, leaky_relu, uniform_fan_in
from rsfusion_jax.models.network import Layer, Network
from rsfusion_jax.ops.adaptive_conv import predicted_kernels, shared_kernels
from rsfusion_jax.ops.box import box_lowpass
from rsfusion_jax.ops.haar import Subbands, dwt, idwt
from rsfusion_jax.ops.low_pass import gaussian_low_pass

SPLITS = ("gaussian", "pool")
INITIAL_CUTOFF = 0.15  # cycles per pixel
DETAIL_WINDOW = 5
CHANNELS, PIXELS = -1, (1, 2)
"""Axes that the attentions' summaries are taken over."""


class RB(Layer):
    """Residual block: h + conv(LeakyReLU(conv(h))) with h = conv(x)."""

    channels: int

    @nn.compact
    def __call__(self, x):
        """(B, H, W, n) -> (B, H, W, C)."""
        h = Conv(self.channels, name="head")(x)
        hidden = leaky_relu(Conv(self.channels, name="conv0")(h))
        return h + Conv(self.channels, name="conv1")(hidden)


class AWF(Layer):
    """Adaptive weighted fusion: complementary and unique information of two maps.

    Complementary: the sum of both maps, weighted per pixel and channel by a softmax over the two.
    Unique: a convolution of their difference. Vectors (B, 1, 1, C) pass 1x1 convolutions.
    """

    @nn.compact
    def __call__(self, a, b):
        """Two (B, H, W, C) -> (B, H, W, C)."""
        channels = a.shape[-1]
        size = 1 if a.shape[1:3] == (1, 1) else 3
        both = jnp.concatenate([a, b], axis=-1)
        hidden = leaky_relu(Conv(channels, size, name="weights0")(both))
        logits = at_least_float32(Conv(2 * channels, size, name="weights1")(hidden))
        of_a, of_b = jnp.split(logits, 2, axis=-1)
        weight = nn.sigmoid(of_a - of_b).astype(a.dtype)  # that of a in a softmax over the two
        complementary = weight * a + (1 - weight) * b
        unique = Conv(channels, size, name="unique")(a - b)
        return complementary + unique


class LowPass(Layer):
    """Gaussian low-pass in the Fourier domain; its cut-off in cycles per pixel is learnt."""

    @nn.compact
    def __call__(self, x):
        """(B, H, W, n) -> the same, in at least float32."""
        # softplus(parameter) is the cut-off.
        start = jnp.log(jnp.expm1(INITIAL_CUTOFF))
        raw = self.param("cutoff", nn.initializers.constant(start), (1,))
        x = at_least_float32(x)
        return gaussian_low_pass(x, nn.softplus(raw).astype(x.dtype))


class FrequencySplit(Layer):
    """Summaries of the high and of the low frequencies of a map.

    Over the channels: the mean of both. Over the pixels: the root mean square of the high
    frequencies and the mean of the low ones. `split="pool"` is the other reading of the figure:
    the maximum stands for the high frequencies, the mean for the low ones.
    """

    split: str

    @nn.compact
    def __call__(self, x, axes):
        """(B, H, W, n) -> high, low: (B, H, W, 1) over CHANNELS, (B, 1, 1, n) over PIXELS."""
        if self.split == "pool":
            return x.max(axes, keepdims=True), x.mean(axes, keepdims=True)
        if axes == CHANNELS:
            # The mean over channels commutes with the filter: one plane is filtered, not n.
            mean = x.mean(axes, keepdims=True)
            low = LowPass(name="low_pass")(mean)
            high = mean - low
        else:
            low = LowPass(name="low_pass")(x)
            high = jnp.sqrt(jnp.square(x - low).mean(axes, keepdims=True) + 1e-12)
            low = low.mean(axes, keepdims=True)
        return high.astype(x.dtype), low.astype(x.dtype)


class FD2R(Layer):
    """Frequency-domain dominated detail reconstruction."""

    num_bands: int

    @nn.compact
    def __call__(self, p, m):
        """Features of PAN and MS, (B, H, W, C) each -> F_f, (B, H, W, C); H and W even."""
        fused = Subbands(
            *(
                AWF(name=f"awf_{name}")(of_p, of_m)
                for name, of_p, of_m in zip(Subbands._fields, dwt(p), dwt(m), strict=True)
            )
        )
        details = AWF(name="join_hl_lh")(fused.hl, fused.lh)
        details = AWF(name="join_hh")(details, fused.hh)
        details = AWF(name="join_ll")(details, fused.ll)
        subbands = Conv(4 * self.num_bands, 1, name="subbands")(details)
        details = idwt(Subbands(*jnp.split(subbands, 4, axis=-1)))  # (B, H, W, bands)
        return leaky_relu(Conv(p.shape[-1], name="encode")(details))


class FDA(Layer):
    """Frequency-domain attention: one k x k kernel per pixel, shared by the channels."""

    kernel: int
    split: str

    @nn.compact
    def __call__(self, features):
        """(B, H, W, C) -> (B, H, W, k k)."""
        taps = self.kernel**2
        features = RB(features.shape[-1], name="rb")(features)
        planes = FrequencySplit(self.split, name="frequency")(features, CHANNELS)
        logits = Conv(taps, name="conv")(jnp.concatenate(planes, axis=-1))
        return 2 * nn.sigmoid(logits) / taps  # a gain near one at the start


class SDA(Layer):
    """Spectral-domain attention: one gain per channel."""

    split: str

    @nn.compact
    def __call__(self, spectral):
        """(B, H, W, C) -> (B, 1, 1, C)."""
        features = Conv(spectral.shape[-1], name="conv")(spectral)
        high, low = FrequencySplit(self.split, name="frequency")(features, PIXELS)
        return 2 * nn.sigmoid(AWF(name="awf")(high, low))


class FSM(Layer):
    """Frequency-spatial module: the map that the kernel of every pixel and channel is made from."""

    split: str

    @nn.compact
    def __call__(self, middle):
        """(B, H, W, C) -> (B, H, W, C)."""
        first = Conv(middle.shape[-1], name="conv0")(middle)
        second = Conv(middle.shape[-1], name="conv1")(first)
        both = jnp.concatenate([first, second], axis=-1)
        planes = FrequencySplit(self.split, name="frequency")(both, CHANNELS)
        masks = nn.sigmoid(Conv(2, 7, name="masks")(jnp.concatenate(planes, axis=-1)))
        return AWF(name="awf")(first * masks[..., :1], second * masks[..., 1:])


class FSCFM(Layer):
    """Frequency-spectral cross fusion module.

    Attributes:
        kernel: side k of the dynamic kernels.
        split: how frequencies are split, one of `SPLITS`.
        use_fda, use_sda, use_fsm: parts that can be left out: the kernels are then the centre tap
            and the gains one.
    """

    kernel: int = 3
    split: str = "gaussian"
    use_fda: bool = True
    use_sda: bool = True
    use_fsm: bool = True

    @nn.compact
    def __call__(self, features, spectral):
        """F_f and F_s, (B, H, W, C) each -> (B, H, W, C)."""
        gains = SDA(self.split, name="sda")(spectral) if self.use_sda else 1.0
        middle = features
        if self.use_fda:
            kernels = FDA(self.kernel, self.split, name="fda")(features)
            middle = shared_kernels(features, kernels)
        middle = gains * middle
        if not self.use_fsm:
            return gains * middle
        source = FSM(self.split, name="fsm")(middle)
        taps, channels = self.kernel**2, features.shape[-1]
        # The 1x1 convolution from FSM to the kernels, tap by tap.
        weights = self.param("kernel_weights", _small, (taps, channels, channels))
        biases = self.param("kernel_biases", _centre_tap, (taps, channels))
        middle, source, weights, biases = self.promote(middle, source, weights, biases)
        return gains * predicted_kernels(middle, source, weights, biases)


def _small(key, shape, dtype=jnp.float32):
    return jax.random.normal(key, shape, dtype) / shape[-2] ** 0.5


def _centre_tap(key, shape, dtype=jnp.float32):
    return jnp.zeros(shape, dtype).at[shape[0] // 2].set(1)


class MDI(Layer):
    """Multiscale detail injection: the details of both images, fused m times."""

    channels: int
    steps: int = 1

    @nn.compact
    def __call__(self, pan, lms):
        """(B, H, W, G) and (B, H, W, bands) -> e, (B, H, W, C)."""
        of_pan, of_ms = (image - box_lowpass(image, DETAIL_WINDOW) for image in (pan, lms))
        details = RB(self.channels, name="rb_pan")(of_pan)
        for step in range(1, self.steps + 1):
            if step > 1:
                details = RB(self.channels, name=f"rb{step}")(details)
            spectral = RB(self.channels, name=f"rb_ms{step}")(of_ms)
            details = AWF(name=f"awf{step}")(details, spectral)
        return details


class CF2N(Network):
    """FD2R, then n times FSCFM with the injected details, then the sum with `lms`.

    Attributes:
        channels: C of the features.
        kernel: side k of the dynamic kernels, odd.
        n: number of fusion modules.
        m: number of steps of the detail branch.
        frequency_split: "gaussian", or "pool".
        use_fd2r: off, F_f is the RB of PAN alone.
        use_fda, use_sda, use_fsm: parts of every FSCFM.
        use_mdi: off, nothing is injected.
    """

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

    title = "CF2N"
    receptive_field = None  # the low-pass and the means over the image are global

    @nn.compact
    def __call__(self, pan, ms, lms, train: bool = False):
        """Fuses a batch from `pan` and `lms`; see `Network`.

        Raises:
            UserError: an unknown `frequency_split`, an even `kernel`, or n or m below 1.
        """
        self._check()
        height, width = pan.shape[1:3]
        odd = ((0, 0), (0, height % 2), (0, width % 2), (0, 0))
        pan, lms = (jnp.pad(image, odd, mode="symmetric") for image in (pan, lms))

        p, spectral = RB(self.channels, name="rb_pan")(pan), RB(self.channels, name="rb_ms")(lms)
        features = FD2R(self.num_bands, name="fd2r")(p, spectral) if self.use_fd2r else p
        if self.use_mdi:
            details = MDI(self.channels, self.m, name="mdi")(pan, lms)
        for i in range(1, self.n + 1):
            parts = (self.use_fda, self.use_sda, self.use_fsm)
            module = FSCFM(self.kernel, self.frequency_split, *parts, name=f"fscfm{i}")
            features = features + module(features, spectral)
            if self.use_mdi:
                inject = Conv(self.channels, 1, init=self._share, name=f"inject{i}")
                features = features + inject(details)
        fused = lms + Conv(self.num_bands, init=_zeros, name="detail")(features)
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


def _zeros(fan_in: int):
    return nn.initializers.zeros


Model = CF2N
