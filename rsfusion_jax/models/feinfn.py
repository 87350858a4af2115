"""FeINFN: implicit neural fusion in space and, by magnitude and phase, in the Fourier domain.

Y.-J. Liang, Z. Cao, S. Deng, H.-X. Dou, L.-J. Deng, "Fourier-enhanced Implicit Neural Fusion
Network for Multispectral and Hyperspectral Image Fusion", NeurIPS 2024,
doi:10.48550/arXiv.2404.15174.

Reproduced exactly as in the authors' code (31 bands guided by RGB: 3,164,816 parameters; their file
holds 3,164,864, of which 48 are never used), with two traits of that code which the paper does not
mention: the phase branch confuses pixels with channels (`PhaseQuery`), and the sine and cosine of
the pixel's number are added to the offsets of the spatial query.

What is ours: any bands, guide and image size, and odd ratios: there a fine pixel can lie exactly on
a coarse one, where the authors' nearest neighbour is a tie; here that coarse pixel alone is then
read (`ops.implicit`). The gradients of phase and magnitude are zero at empty bins (`ops.fft`).
"""

from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from rsfusion_jax.models.layers import (
    Conv,
    ImplicitMLP,
    at_least_float32,
    matrix_product,
    uniform_fan_in,
)
from rsfusion_jax.models.network import Layer, Network
from rsfusion_jax.ops import fft, implicit
from rsfusion_jax.ops.conv import conv
from rsfusion_jax.ops.padding import check_sizes

DECODER_WIDTH = 128
HIGH_PASS = np.array([[0, -1, 0], [-1, 1, -1], [0, -1, 0]], np.float32)
"""As in the authors' code: the centre is 1, not 4, so that a constant does not vanish."""


class EDSRBlock(Layer):
    """x + conv(ReLU(conv(x)))."""

    @nn.compact
    def __call__(self, x):
        """(B, H, W, c) -> (B, H, W, c)."""
        hidden = nn.relu(Conv(x.shape[-1], name="conv0")(x))
        return x + Conv(x.shape[-1], name="conv1")(hidden)


class EDSR(Layer):
    """Encoder: a convolution, then residual blocks and a convolution bridged by a skip."""

    features: int
    blocks: int

    @nn.compact
    def __call__(self, x):
        """(B, H, W, c) -> (B, H, W, features)."""
        x = Conv(self.features, name="head")(x)
        hidden = x
        for i in range(self.blocks):
            hidden = EDSRBlock(name=f"block{i}")(hidden)
        return x + Conv(self.features, name="tail")(hidden)


class PhaseQuery(Layer):
    """Implicit query of phases: pointwise and depthwise 3x3 layers instead of one MLP per pixel.

    The corners' vectors (B, pixels, D) are stored pixel by pixel. The authors' code reads them as
    (B, D, pixels), as if they were stored channel by channel, and the results the other way round:
    the input of the layers is not an image. The weights were trained that way.
    """

    hidden: Sequence[int]
    features: int

    @nn.compact
    def __call__(self, low, guide):
        """(B, h, w, c), (B, H, W, g) -> (B, H, W, features)."""
        _, height, width, channels = guide.shape
        channels += low.shape[-1] + 2
        layers = []
        for index, features in enumerate((*self.hidden, self.features + 1)):
            inputs = layers[-1][0].shape[-1] if layers else channels
            shapes = (inputs, features), (3, 3, 1, features)
            pointwise = self.param(f"pointwise{index}", uniform_fan_in(inputs), shapes[0])
            depthwise = self.param(f"depthwise{index}", uniform_fan_in(9), shapes[1])
            layers.append((pointwise, depthwise))
        low, guide, layers = self.promote(low, guide, layers)

        def prepare(layers, guide, low):
            batch = len(guide)

            def predict(values, offsets):
                offsets = jnp.broadcast_to(offsets, (batch, height, width, 2))
                x = jnp.concatenate([values, guide, offsets], axis=-1)
                x = x.reshape(batch, channels, height * width)
                for index, (pointwise, depthwise) in enumerate(layers):
                    if index:
                        x = matrix_product(nn.relu(x), pointwise)
                    else:  # channels first as stored; moving them last would double the cost
                        pointwise = jnp.broadcast_to(pointwise, (batch, *pointwise.shape))
                        x = jnp.einsum("bdp,bdm->bpm", x, pointwise)
                        x = x.reshape(batch, height, width, -1)
                    x = conv(x, depthwise)
                return jnp.moveaxis(x, -1, 1).reshape(batch, height, width, -1)

            return low, predict

        return implicit.query(prepare, layers, guide, low)


class FourierUnit(Layer):
    """Frequency implicit fusion: a query of magnitudes and one of phases, then back to space."""

    hidden: Sequence[int]
    features: int

    @nn.compact
    def __call__(self, low, guide):
        """(B, h, w, c), (B, H, W, g) -> (B, H, W, features), not negative."""
        spectra = fft.fft2(low), fft.fft2(guide)  # frequencies are pixels from here on
        of_low, of_guide = (fft.magnitude(spectrum) for spectrum in spectra)
        magnitude = ImplicitMLP(self.hidden, self.features, name="magnitude")([of_low], of_guide)
        of_low, of_guide = (fft.phase(spectrum) for spectrum in spectra)
        phase = PhaseQuery(self.hidden, self.features, name="phase")(of_low, of_guide)
        magnitude, phase = at_least_float32(magnitude), at_least_float32(phase)
        # An MLP's magnitudes may be negative: then the wave is turned by pi.
        spectrum = jax.lax.complex(magnitude * jnp.cos(phase), magnitude * jnp.sin(phase))
        return fft.magnitude(fft.ifft2(spectrum)).astype(low.dtype)


class GaborStage(Layer):
    """One step of the decoder: ReLU of the spatial features times a Gabor wavelet of the others."""

    @nn.compact
    def __call__(self, gated, waved):
        """(B, H, W, k), (B, H, W, q) -> (B, H, W, 128)."""
        gate = nn.relu(Conv(DECODER_WIDTH, 1, name="gate")(gated))
        u = at_least_float32(Conv(DECODER_WIDTH, 1, name="wave")(waved))
        omega, scale = (
            self.param(name, nn.initializers.constant(value), (1,)).astype(u.dtype)
            for name, value in (("omega", 30.0), ("scale", 10.0))
        )
        # The real part of exp(i omega u - (scale u)^2).
        return gate * (jnp.exp(-jnp.square(scale * u)) * jnp.cos(omega * u)).astype(gate.dtype)


class Decoder(Layer):
    """SFID, the spatial-frequency interactive decoder."""

    features: int

    @nn.compact
    def __call__(self, spatial, frequency):
        """Two of (B, H, W, K) -> (B, H, W, features)."""
        x = GaborStage(name="stage0")(spatial, frequency)
        for index in (1, 2):
            both = jnp.concatenate([x, spatial], axis=-1)
            x = GaborStage(name=f"stage{index}")(both, x)
        return Conv(self.features, 1, name="last_layer")(x)


class FeINFN(Network):
    """Two encoders, a query in space, one in the Fourier domain, and a decoder of both.

    Transforms, phases and the decoder's wavelets are computed in at least float32.

    Attributes:
        feat_dim: channels of the low-resolution features.
        guide_dim: channels of the full-size features.
        spa_edsr_num: residual blocks of the full-size encoder.
        spe_edsr_num: residual blocks of the low-resolution encoder.
        mlp_dim: hidden widths of the queries.
    """

    feat_dim: int = 128
    guide_dim: int = 128
    spa_edsr_num: int = 4
    spe_edsr_num: int = 4
    mlp_dim: Sequence[int] = (256, 128)

    title = "FeINFN"
    receptive_field = None  # the Fourier transform is global
    inference_tile = 64

    @nn.compact
    def __call__(self, pan, ms, lms, train: bool = False):
        """Fuses a batch; see `Network`.

        Raises:
            UserError: `pan` is not exactly `ratio` times `ms`.
        """
        check_sizes(pan, ms, self.ratio)
        both = jnp.concatenate([pan, lms], axis=-1)
        spatial = EDSR(self.guide_dim, self.spa_edsr_num, name="spatial_encoder")(both)
        spectral = EDSR(self.feat_dim, self.spe_edsr_num, name="spectral_encoder")(ms)

        features = self.num_bands + 1
        frequency = FourierUnit(self.mlp_dim, features, name="fourier_unit")(spectral, spatial)
        shift = jnp.asarray(pixel_waves(*pan.shape[1:3]), at_least_float32(pan).dtype)
        nir = ImplicitMLP(self.mlp_dim, features, name="spatial_query")
        nir = nir([spectral, high_pass(spectral)], spatial, shift)
        return {"fused": lms + Decoder(self.num_bands, name="decoder")(nir, frequency)}


def high_pass(image):
    """Filters every channel of (B, h, w, c) with `HIGH_PASS`, zeros beyond the border."""
    padded = jnp.pad(image, ((0, 0), (1, 1), (1, 1), (0, 0)))
    vertical = padded[:, :-2, 1:-1] + padded[:, 2:, 1:-1]
    horizontal = padded[:, 1:-1, :-2] + padded[:, 1:-1, 2:]
    return image - vertical - horizontal


def wave_table() -> np.ndarray:
    """Tabulates sin p and cos p, p = 0 ... 4095: the authors' buffer (4096, 2), up to one ulp."""
    positions = np.arange(4096.0)
    return np.stack([np.sin(positions), np.cos(positions)], axis=-1).astype(np.float32)


def pixel_waves(height: int, width: int) -> np.ndarray:
    """Stretches `wave_table` linearly over the pixels in reading order: (H, W, 2).

    Entry n is read at position (n + 1/2) 4096 / (H W) - 1/2 of the table; its ends are repeated.
    """
    table, pixels = wave_table().astype(np.float64), height * width
    positions = (np.arange(pixels) + 0.5) * (len(table) / pixels) - 0.5
    columns = (np.interp(positions, np.arange(len(table)), column) for column in table.T)
    return np.stack(list(columns), axis=-1).reshape(height, width, 2)


Model = FeINFN
