"""PNN: pansharpening by a three-layer convolutional network.

G. Masi, D. Cozzolino, L. Verdoliva, G. Scarpa, "Pansharpening by Convolutional Neural Networks",
Remote Sensing 8(7), 2016, doi:10.3390/rs8070594.

Reproduced exactly as in DLPan-Toolbox (doi:10.1109/MGRS.2022.3187652) when it fuses: 104,360
parameters at 8 bands and one PAN band, 80,420 at 4. The convolutions are unpadded; the inputs are
widened by eight repeated edge pixels on every side beforehand.

What differs: in training the toolbox does not widen the inputs and compares the smaller output with
the inner part of the ground truth; here training includes the border. What is ours: any band count,
guide and ratio.
"""

import flax.linen as nn
import jax.numpy as jnp

from rsfusion_jax.models.layers import Conv
from rsfusion_jax.models.network import Network

_BORDER = 8
"""Pixels from the centre that the three convolutions reach together."""


class PNN(Network):
    """Three convolutions of the concatenated images, on the PAN grid."""

    title = "PNN"
    receptive_field = 2 * _BORDER + 1

    @nn.compact
    def __call__(self, pan, ms, lms, train: bool = False):
        """Fuses a batch from `pan` and `lms`; see `Network`."""
        height, width = pan.shape[1:3]
        border = ((0, 0), (_BORDER, _BORDER), (_BORDER, _BORDER), (0, 0))
        x = jnp.pad(jnp.concatenate([lms, pan], axis=-1), border, mode="edge")
        # The zero padding of these layers only reaches pixels that are cropped at the end.
        x = nn.relu(Conv(64, 9, name="conv1")(x))
        x = nn.relu(Conv(32, 5, name="conv2")(x))
        x = Conv(self.num_bands, 5, name="conv3")(x)
        return {"fused": x[:, _BORDER : _BORDER + height, _BORDER : _BORDER + width]}


Model = PNN
