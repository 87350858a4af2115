"""PanNet: a residual network that sees only the high frequencies of both images.

J. Yang, X. Fu, Y. Hu, Y. Huang, X. Ding, J. Paisley, "PanNet: A Deep Network Architecture for
Pan-Sharpening", ICCV 2017, doi:10.1109/ICCV.2017.193.

Reproduced exactly as in DLPan-Toolbox (doi:10.1109/MGRS.2022.3187652): 83,024 parameters at 8 bands
and one PAN band, 77,640 at 4. The toolbox filters the images while loading them and adds the
low-resolution image after the network; here both happen inside, so that the network is called as
every other.

What is ours: any band count and guide, and ratios other than 4, for which the learnt
enlargement has the kernel of a bilinear one (side 2r, or 2r - 1 where r is odd).
"""

from typing import ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from rsfusion_jax.models.layers import Conv, truncated_normal_fan_in
from rsfusion_jax.ops.box import box_lowpass


def high_pass(image):
    """What a mean over 5x5 pixels leaves of (B, H, W, C)."""
    return image - box_lowpass(image, 5)


class Deconv(nn.Module):
    """`torch.nn.ConvTranspose2d` that enlarges exactly `ratio` times; its kernels overlap."""

    features: int
    ratio: int
    dtype: jnp.dtype | None = None
    precision: jax.lax.PrecisionLike = None

    @nn.compact
    def __call__(self, x):
        """(B, h, w, C) -> (B, r h, r w, features)."""
        size = 2 * self.ratio - self.ratio % 2
        # PyTorch takes fan_in from the kernel's second axis, the output channels here.
        init = truncated_normal_fan_in(size * size * self.features)
        kernel = self.param("kernel", init, (size, size, x.shape[-1], self.features))
        bias = self.param("bias", init, (self.features,))
        x, kernel, bias = nn.dtypes.promote_dtype(x, kernel, bias, dtype=self.dtype)
        pad = size - 1 - (size - self.ratio) // 2
        x = jax.lax.conv_general_dilated(
            x,
            kernel[::-1, ::-1],  # the transpose of a correlation is a convolution
            window_strides=(1, 1),
            padding=((pad, pad), (pad, pad)),
            lhs_dilation=(self.ratio, self.ratio),
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
            precision=self.precision,
        )
        return x + bias.reshape((1, 1, 1, -1))


class ResBlock(nn.Module):
    """x + conv(ReLU(conv(x)))."""

    dtype: jnp.dtype | None = None
    precision: jax.lax.PrecisionLike = None

    @nn.compact
    def __call__(self, x):
        """(B, H, W, c) -> (B, H, W, c)."""
        args = {"init": truncated_normal_fan_in, "dtype": self.dtype, "precision": self.precision}
        hidden = nn.relu(Conv(x.shape[-1], name="conv20", **args)(x))
        return x + Conv(x.shape[-1], name="conv21", **args)(hidden)


class PanNet(nn.Module):
    """Four residual blocks of 32 channels on the high frequencies; `lms` carries the low ones.

    Attributes:
        num_bands: C.
        guide_bands: G.
        ratio: r.
        dtype: compute dtype; None follows the inputs and parameters.
        precision: matrix-product precision, as `jax.lax.Precision`.
    """

    num_bands: int
    guide_bands: int = 1
    ratio: int = 4
    dtype: jnp.dtype | None = None
    precision: jax.lax.PrecisionLike = None

    predicts: ClassVar[str] = "fused"

    @property
    def receptive_field(self) -> int:
        """Through `ms`: ten 3x3 convolutions, half of the enlargement, and two of its pixels."""
        return 2 * (10 + 5 * self.ratio // 2) + 1

    @nn.compact
    def __call__(self, pan, ms, lms, train: bool = False):
        """Fuses a batch.

        Args:
            pan: (B, H, W, G) guide.
            ms: (B, H/r, W/r, C) low-resolution image.
            lms: (B, H, W, C) low-resolution image on the PAN grid.
            train: unused: the network has no dropout and no batch statistics.

        Returns:
            {"fused": (B, H, W, C)}, unclipped.
        """
        args = {"dtype": self.dtype, "precision": self.precision}
        enlarged = Deconv(self.num_bands, self.ratio, name="deconv", **args)(high_pass(ms))
        x = jnp.concatenate([enlarged, high_pass(pan)], axis=-1)
        x = nn.relu(Conv(32, init=truncated_normal_fan_in, name="conv1", **args)(x))
        for block in range(1, 5):
            x = ResBlock(name=f"res{block}", **args)(x)
        x = Conv(self.num_bands, init=truncated_normal_fan_in, name="conv3", **args)(x)
        return {"fused": lms + x}


Model = PanNet
