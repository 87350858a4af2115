"""FeINFN: implicit neural fusion in space and, by magnitude and phase, in the Fourier domain.

Y.-J. Liang, Z. Cao, S. Deng, H.-X. Dou, L.-J. Deng, "Fourier-enhanced Implicit Neural Fusion
Network for Multispectral and Hyperspectral Image Fusion", NeurIPS 2024,
doi:10.48550/arXiv.2404.15174.

Reproduced exactly as in the authors' code (31 bands guided by RGB: 3,164,816 parameters; their file
holds 3,164,864, of which 48 are never used), with two traits of that code which the paper does not
mention: the phase branch takes pixels for channels and back (`PhaseQuery`), and the offsets of the
spatial query carry the sine and cosine of the pixel's number.

What is ours: any bands, guide and image size, and odd ratios: there a fine pixel can lie exactly on
a coarse one, where the authors' nearest neighbour is a tie; here it then asks that pixel alone
(`ops.implicit`). The gradients of phase and magnitude are zero at empty bins (`ops.fft`).
"""

from collections.abc import Sequence
from typing import ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from rsfusion_jax.models.layers import Conv, ImplicitMLP, matrix_product, uniform_fan_in
from rsfusion_jax.ops import fft, implicit
from rsfusion_jax.ops.conv import conv
from rsfusion_jax.ops.padding import check_sizes

DECODER_WIDTH = 128
HIGH_PASS = np.array([[0, -1, 0], [-1, 1, -1], [0, -1, 0]], np.float32)
"""What the authors' code has; the centre is 1, not 4, so a constant does not vanish."""


class EDSRBlock(nn.Module):
    """x + conv(ReLU(conv(x)))."""

    dtype: jnp.dtype | None = None
    precision: jax.lax.PrecisionLike = None

    @nn.compact
    def __call__(self, x):
        """(B, H, W, c) -> (B, H, W, c)."""
        args = {"dtype": self.dtype, "precision": self.precision}
        hidden = nn.relu(Conv(x.shape[-1], name="conv0", **args)(x))
        return x + Conv(x.shape[-1], name="conv1", **args)(hidden)


class EDSR(nn.Module):
    """Encoder: a convolution, residual blocks and a convolution around which a skip goes."""

    features: int
    blocks: int
    dtype: jnp.dtype | None = None
    precision: jax.lax.PrecisionLike = None

    @nn.compact
    def __call__(self, x):
        """(B, H, W, c) -> (B, H, W, features)."""
        args = {"dtype": self.dtype, "precision": self.precision}
        x = Conv(self.features, name="head", **args)(x)
        hidden = x
        for i in range(self.blocks):
            hidden = EDSRBlock(name=f"block{i}", **args)(hidden)
        return x + Conv(self.features, name="tail", **args)(hidden)


class PhaseQuery(nn.Module):
    """Implicit query of phases: pointwise and depthwise 3x3 layers instead of one MLP per pixel.

    The corners' vectors (B, pixels, D) lie in memory pixel by pixel. The authors' code reads them
    as (B, D, pixels), as if they lay channel by channel, and the results likewise the other way
    round: what the layers see is not an image. The weights were trained so.
    """

    hidden: Sequence[int]
    features: int
    dtype: jnp.dtype | None = None
    precision: jax.lax.PrecisionLike = None

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
        low, guide, layers = jax.tree.map(
            lambda x: x.astype(nn.dtypes.canonicalize_dtype(x, guide, dtype=self.dtype)),
            (low, guide, layers),
        )

        def prepare(layers, guide, low):
            batch = len(guide)

            def predict(values, offsets):
                offsets = jnp.broadcast_to(offsets, (batch, height, width, 2))
                x = jnp.concatenate([values, guide, offsets], axis=-1)
                x = x.reshape(batch, channels, height * width)
                for index, (pointwise, depthwise) in enumerate(layers):
                    if index:
                        x = matrix_product(nn.relu(x), pointwise, precision=self.precision)
                    else:  # channels first, as they lie: bringing them last costs as much again
                        pointwise = jnp.broadcast_to(pointwise, (batch, *pointwise.shape))
                        x = jnp.einsum("bdp,bdm->bpm", x, pointwise, precision=self.precision)
                        x = x.reshape(batch, height, width, -1)
                    x = conv(x, depthwise, precision=self.precision)
                return jnp.moveaxis(x, -1, 1).reshape(batch, height, width, -1)

            return low, predict

        return implicit.query(prepare, layers, guide, low)


class FourierUnit(nn.Module):
    """Frequency implicit fusion: a query of magnitudes and one of phases, then back to space."""

    hidden: Sequence[int]
    features: int
    dtype: jnp.dtype | None = None
    precision: jax.lax.PrecisionLike = None

    @nn.compact
    def __call__(self, low, guide):
        """(B, h, w, c), (B, H, W, g) -> (B, H, W, features), not negative."""
        args = (self.hidden, self.features, self.dtype, self.precision)
        spectra = fft.fft2(low), fft.fft2(guide)  # frequencies are pixels from here on
        of_low, of_guide = (fft.magnitude(spectrum) for spectrum in spectra)
        magnitude = ImplicitMLP(*args, name="magnitude")([of_low], of_guide)
        of_low, of_guide = (fft.phase(spectrum) for spectrum in spectra)
        phase = PhaseQuery(*args, name="phase")(of_low, of_guide)
        magnitude, phase = (_at_least_float32(x) for x in (magnitude, phase))
        # An MLP's magnitudes may be negative: then the wave is turned by pi.
        spectrum = jax.lax.complex(magnitude * jnp.cos(phase), magnitude * jnp.sin(phase))
        return fft.magnitude(fft.ifft2(spectrum)).astype(low.dtype)


class GaborStage(nn.Module):
    """One step of the decoder: ReLU of the spatial features times a Gabor wavelet of the others."""

    dtype: jnp.dtype | None = None
    precision: jax.lax.PrecisionLike = None

    @nn.compact
    def __call__(self, gated, waved):
        """(B, H, W, k), (B, H, W, q) -> (B, H, W, 128)."""
        args = {"kernel_size": 1, "dtype": self.dtype, "precision": self.precision}
        gate = nn.relu(Conv(DECODER_WIDTH, name="gate", **args)(gated))
        u = _at_least_float32(Conv(DECODER_WIDTH, name="wave", **args)(waved))
        omega, scale = (
            self.param(name, nn.initializers.constant(value), (1,)).astype(u.dtype)
            for name, value in (("omega", 30.0), ("scale", 10.0))
        )
        # The real part of exp(i omega u - (scale u)^2).
        return gate * (jnp.exp(-jnp.square(scale * u)) * jnp.cos(omega * u)).astype(gate.dtype)


class Decoder(nn.Module):
    """SFID, the spatial-frequency interactive decoder."""

    features: int
    dtype: jnp.dtype | None = None
    precision: jax.lax.PrecisionLike = None

    @nn.compact
    def __call__(self, spatial, frequency):
        """Two of (B, H, W, K) -> (B, H, W, features)."""
        args = {"dtype": self.dtype, "precision": self.precision}
        x = GaborStage(name="stage0", **args)(spatial, frequency)
        for index in (1, 2):
            both = jnp.concatenate([x, spatial], axis=-1)
            x = GaborStage(name=f"stage{index}", **args)(both, x)
        return Conv(self.features, kernel_size=1, name="last_layer", **args)(x)


class FeINFN(nn.Module):
    """Two encoders, a query in space, one in the Fourier domain, and a decoder of both.

    Attributes:
        num_bands: C.
        guide_bands: G.
        ratio: r.
        feat_dim: channels of the low-resolution features.
        guide_dim: channels of the full-size features.
        spa_edsr_num: residual blocks of the full-size encoder.
        spe_edsr_num: residual blocks of the low-resolution encoder.
        mlp_dim: hidden widths of the queries.
        dtype: compute dtype; None follows the inputs and parameters. Transforms, phases and the
            decoder's wavelets are computed in at least float32.
        precision: matrix-product precision, as `jax.lax.Precision`.
    """

    num_bands: int
    guide_bands: int = 1
    ratio: int = 4
    feat_dim: int = 128
    guide_dim: int = 128
    spa_edsr_num: int = 4
    spe_edsr_num: int = 4
    mlp_dim: Sequence[int] = (256, 128)
    dtype: jnp.dtype | None = None
    precision: jax.lax.PrecisionLike = None

    predicts: ClassVar[str] = "fused"
    # The Fourier transform sees the whole image.
    receptive_field: ClassVar[int | None] = None
    inference_tile: ClassVar[int] = 64

    @nn.compact
    def __call__(self, pan, ms, lms, train: bool = False):
        """Fuses a batch.

        Args:
            pan: (B, H, W, G) guide.
            ms: (B, H/r, W/r, C) low-resolution image.
            lms: (B, H, W, C) low-resolution image on the guide's grid.
            train: unused: the network has no dropout and no batch statistics.

        Returns:
            {"fused": (B, H, W, C)}, unclipped.

        Raises:
            UserError: `pan` is not exactly `ratio` times `ms`.
        """
        check_sizes(pan, ms, self.ratio)
        args = {"dtype": self.dtype, "precision": self.precision}
        query = {"hidden": self.mlp_dim, "features": self.num_bands + 1, **args}
        both = jnp.concatenate([pan, lms], axis=-1)
        spatial = EDSR(self.guide_dim, self.spa_edsr_num, name="spatial_encoder", **args)(both)
        spectral = EDSR(self.feat_dim, self.spe_edsr_num, name="spectral_encoder", **args)(ms)
        frequency = FourierUnit(name="fourier_unit", **query)(spectral, spatial)
        shift = jnp.asarray(pixel_waves(*pan.shape[1:3]), _at_least_float32(pan).dtype)
        nir = ImplicitMLP(name="spatial_query", **query)
        nir = nir([spectral, high_pass(spectral)], spatial, shift)
        return {"fused": lms + Decoder(self.num_bands, name="decoder", **args)(nir, frequency)}


def high_pass(image):
    """`HIGH_PASS` on every channel of (B, h, w, c), zero beyond the border."""
    padded = jnp.pad(image, ((0, 0), (1, 1), (1, 1), (0, 0)))
    vertical = padded[:, :-2, 1:-1] + padded[:, 2:, 1:-1]
    horizontal = padded[:, 1:-1, :-2] + padded[:, 1:-1, 2:]
    return image - vertical - horizontal


def wave_table() -> np.ndarray:
    """(4096, 2): sin p and cos p, p = 0 ... 4095, as the authors' file holds them up to one ulp."""
    positions = np.arange(4096.0)
    return np.stack([np.sin(positions), np.cos(positions)], axis=-1).astype(np.float32)


def pixel_waves(height: int, width: int) -> np.ndarray:
    """(H, W, 2): `wave_table` stretched linearly over the pixels in reading order.

    Entry n looks at position (n + 1/2) 4096 / (H W) - 1/2 of the table; its ends are repeated.
    """
    table, pixels = wave_table().astype(np.float64), height * width
    positions = (np.arange(pixels) + 0.5) * (len(table) / pixels) - 0.5
    columns = (np.interp(positions, np.arange(len(table)), column) for column in table.T)
    return np.stack(list(columns), axis=-1).reshape(height, width, 2)


def _at_least_float32(x):
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))


Model = FeINFN
