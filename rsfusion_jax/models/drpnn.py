"""DRPNN: a deep residual network of large kernels.

Y. Wei, Q. Yuan, H. Shen, L. Zhang, "Boosting the Accuracy of Multispectral Image Pansharpening by
Learning a Deep Residual Network", IEEE GRSL 14(10), 2017, doi:10.1109/LGRS.2017.2736020.

Reproduced exactly as in DLPan-Toolbox (doi:10.1109/MGRS.2022.3187652), with 32 channels: 433,465
parameters at 8 bands and one PAN band, 418,365 at 4. The residual is added to both images, and a
last convolution reduces the sum to the bands.

What is ours: any band count, guide and ratio.
"""

import flax.linen as nn
import jax.numpy as jnp

from rsfusion_jax.models.layers import Conv
from rsfusion_jax.models.network import Network


class DRPNN(Network):
    """Eleven 7x7 convolutions, on the PAN grid; a skip bridges the first ten."""

    title = "DRPNN"
    receptive_field = 67  # eleven 7x7 convolutions in a row

    @nn.compact
    def __call__(self, pan, ms, lms, train: bool = False):
        """Fuses a batch from `pan` and `lms`; see `Network`."""
        images = jnp.concatenate([lms, pan], axis=-1)
        x = nn.relu(Conv(32, 7, name="conv1")(images))
        for block in range(8):
            x = nn.relu(Conv(32, 7, name=f"backbone{block}")(x))
        x = images + Conv(images.shape[-1], 7, name="conv2")(x)
        return {"fused": Conv(self.num_bands, 7, name="conv3")(x)}


Model = DRPNN
