"""PanNet: a residual network of the high frequencies of both images.

J. Yang, X. Fu, Y. Hu, Y. Huang, X. Ding, J. Paisley, "PanNet: A Deep Network Architecture for
Pan-Sharpening", ICCV 2017, doi:10.1109/ICCV.2017.193.

Reproduced exactly as in DLPan-Toolbox (doi:10.1109/MGRS.2022.3187652): 83,024 parameters at 8 bands
and one PAN band, 77,640 at 4. The toolbox filters the images while loading them and adds the
low-resolution image after the network; here both happen inside, so that the network is called as
every other.

What is ours: any band count and guide, and ratios other than 4, for which the learnt
upsampling has the kernel of a bilinear one (side 2r, or 2r - 1 where r is odd).
"""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp

from rsfusion_jax.models import layers
from rsfusion_jax.models.layers import truncated_normal_fan_in
from rsfusion_jax.models.network import Layer, Network
from rsfusion_jax.ops.box import box_lowpass

Conv = functools.partial(layers.Conv, init=truncated_normal_fan_in)


def high_pass(image):
    """Subtracts the mean over 5x5 pixels from (B, H, W, C)."""
    return image - box_lowpass(image, 5)


class Deconv(Layer):
    """`torch.nn.ConvTranspose2d` that enlarges exactly `ratio` times; its kernels overlap."""

    features: int
    ratio: int

    @nn.compact
    def __call__(self, x):
        """(B, h, w, C) -> (B, r h, r w, features)."""
        size = 2 * self.ratio - self.ratio % 2
        # PyTorch takes fan_in from the kernel's second axis, the output channels here.
        init = truncated_normal_fan_in(size * size * self.features)
        kernel = self.param("kernel", init, (size, size, x.shape[-1], self.features))
        bias = self.param("bias", init, (self.features,))
        x, kernel, bias = self.promote(x, kernel, bias)
        pad = size - 1 - (size - self.ratio) // 2
        x = jax.lax.conv_general_dilated(
            x,
            kernel[::-1, ::-1],  # the transpose of a correlation is a convolution
            window_strides=(1, 1),
            padding=((pad, pad), (pad, pad)),
            lhs_dilation=(self.ratio, self.ratio),
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
        )
        return x + bias.reshape((1, 1, 1, -1))


class ResBlock(Layer):
    """x + conv(ReLU(conv(x)))."""

    @nn.compact
    def __call__(self, x):
        """(B, H, W, c) -> (B, H, W, c)."""
        hidden = nn.relu(Conv(x.shape[-1], name="conv20")(x))
        return x + Conv(x.shape[-1], name="conv21")(hidden)


class PanNet(Network):
    """Four residual blocks of 32 channels on the high frequencies; `lms` carries the low ones."""

    title = "PanNet"

    @property
    def receptive_field(self) -> int:
        """Through `ms`: ten 3x3 convolutions, half of the upsampling kernel, two of its pixels."""
        return 2 * (10 + 5 * self.ratio // 2) + 1

    @nn.compact
    def __call__(self, pan, ms, lms, train: bool = False):
        """Fuses a batch; see `Network`."""
        upsampled = Deconv(self.num_bands, self.ratio, name="deconv")(high_pass(ms))
        x = jnp.concatenate([upsampled, high_pass(pan)], axis=-1)
        x = nn.relu(Conv(32, name="conv1")(x))
        for block in range(1, 5):
            x = ResBlock(name=f"res{block}")(x)
        return {"fused": lms + Conv(self.num_bands, name="conv3")(x)}


Model = PanNet
