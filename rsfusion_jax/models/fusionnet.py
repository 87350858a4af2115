"""FusionNet: details injected by a residual network of the difference between PAN and MS.

L.-J. Deng, G. Vivone, C. Jin, J. Chanussot, "Detail Injection-Based Deep Convolutional Neural
Networks for Pansharpening", IEEE TGRS 59(8), 2021, doi:10.1109/TGRS.2020.3031366.

Reproduced exactly as in DLPan-Toolbox (doi:10.1109/MGRS.2022.3187652): 78,632 parameters at 8 bands
and one PAN band, 76,324 at 4. The authors' network returns the details; here they are already added
to the low-resolution image.

What is ours: any band count and ratio, and guides of several bands, where the differences of the
low-resolution image to each guide band are stacked.
"""

import flax.linen as nn

from rsfusion_jax.models.layers import Conv
from rsfusion_jax.models.network import Layer, Network


class ResBlock(Layer):
    """x + conv(ReLU(conv(x)))."""

    @nn.compact
    def __call__(self, x):
        """(B, H, W, c) -> (B, H, W, c)."""
        hidden = nn.relu(Conv(x.shape[-1], name="conv20")(x))
        return x + Conv(x.shape[-1], name="conv21")(hidden)


class FusionNet(Network):
    """Four residual blocks of 32 channels on PAN - MS, on the PAN grid."""

    title = "FusionNet"
    receptive_field = 21  # ten 3x3 convolutions in a row

    @nn.compact
    def __call__(self, pan, ms, lms, train: bool = False):
        """Fuses a batch from `pan` and `lms`; see `Network`."""
        differences = pan[..., :, None] - lms[..., None, :]  # (B, H, W, G, C)
        x = differences.reshape(*differences.shape[:3], -1)
        x = nn.relu(Conv(32, name="conv1")(x))
        for block in range(1, 5):
            x = ResBlock(name=f"res{block}")(x)
        return {"fused": lms + Conv(self.num_bands, name="conv3")(x)}


Model = FusionNet
