"""MSDCNN: a deep multiscale and a shallow convolutional branch, added.

Q. Yuan, Y. Wei, X. Meng, H. Shen, L. Zhang, "A Multiscale and Multidepth Convolutional Neural
Network for Remote Sensing Imagery Pan-Sharpening", IEEE JSTARS 11(3), 2018,
doi:10.1109/JSTARS.2018.2794888.

Reproduced exactly as in DLPan-Toolbox (doi:10.1109/MGRS.2022.3187652), with a ReLU after the sum
that keeps the fused image from being negative: 228,556 parameters at 8 bands and one PAN band,
189,852 at 4.

What is ours: any band count, guide and ratio.
"""

import flax.linen as nn
import jax.numpy as jnp

from rsfusion_jax.models.layers import Conv
from rsfusion_jax.models.network import Layer, Network


class MultiscaleBlock(Layer):
    """ReLU(x + [conv 3x3, conv 5x5, conv 7x7](x)), each with a third of the channels."""

    @nn.compact
    def __call__(self, x):
        """(B, H, W, c) -> (B, H, W, c)."""
        third = x.shape[-1] // 3
        scales = [Conv(third, size, name=f"conv{size}x{size}")(x) for size in (3, 5, 7)]
        return nn.relu(x + jnp.concatenate(scales, axis=-1))


class MSDCNN(Network):
    """Deep branch of two multiscale blocks plus shallow branch of three convolutions."""

    title = "MSDCNN"
    receptive_field = 25  # 7, 7, 3, 7 and 5 in the deep branch

    @nn.compact
    def __call__(self, pan, ms, lms, train: bool = False):
        """Fuses a batch from `pan` and `lms`, never negative; see `Network`."""
        images = jnp.concatenate([lms, pan], axis=-1)

        deep = nn.relu(Conv(60, 7, name="conv1")(images))
        deep = MultiscaleBlock(name="multiscale2")(deep)  # (B, H, W, 60)
        deep = nn.relu(Conv(30, 3, name="conv3")(deep))
        deep = MultiscaleBlock(name="multiscale4")(deep)  # (B, H, W, 30)
        deep = Conv(self.num_bands, 5, name="conv5")(deep)

        shallow = nn.relu(Conv(64, 9, name="shallow1")(images))
        shallow = nn.relu(Conv(32, 1, name="shallow2")(shallow))
        shallow = Conv(self.num_bands, 5, name="shallow3")(shallow)
        return {"fused": nn.relu(deep + shallow)}


Model = MSDCNN
