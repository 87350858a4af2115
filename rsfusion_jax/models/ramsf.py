"""RAMSF: details rebuilt from Haar subbands, then carried to full size by implicit queries.

RAMSF, IEEE Transactions on Geoscience and Remote Sensing, 2025; part of the RSMIF collection.

Reproduced exactly as in the authors' code at ratios divisible by 4 (8 bands, one PAN band: 666,350
parameters; 661,226 at 4 bands; 696,965 for 31 bands guided by RGB).

What is ours: any image size (the authors' network is built for one size), and the other ratios:
there a fine pixel can lie exactly on a coarse one, where the authors' nearest neighbour is a tie;
here that coarse pixel alone is then read (`ops.implicit`).
"""

from collections.abc import Sequence

import flax.linen as nn
import jax.numpy as jnp

from rsfusion_jax.errors import UserError
from rsfusion_jax.models.layers import Conv, ImplicitMLP, PReLU, leaky_relu
from rsfusion_jax.models.network import Layer, Network
from rsfusion_jax.ops.haar import Subbands, dwt, idwt
from rsfusion_jax.ops.padding import pad_sample


class ResBlock(Layer):
    """x + conv(LeakyReLU(conv(x))): the paper's DE."""

    @nn.compact
    def __call__(self, x):
        """(B, H, W, c) -> (B, H, W, c)."""
        hidden = leaky_relu(Conv(x.shape[-1], name="conv0")(x))
        return x + Conv(x.shape[-1], name="conv1")(hidden)


class RAMSF(Network):
    """Wavelet details of both images, and two queries from the low-resolution image to full size.

    Attributes:
        feat_dim: channels of the features, a multiple of 4.
        guide_dim: channels of the queries' guide; must equal `feat_dim`.
        mlp_dim: hidden widths of the queries.
        nir_dim: channels between the two queries plus one.
    """

    feat_dim: int = 64
    guide_dim: int = 64
    mlp_dim: Sequence[int] = (256, 128)
    nir_dim: int = 33

    title = "RAMSF"

    @property
    def receptive_field(self) -> int:
        """Through PAN 17 pixels to `spatial`, two more by its halved copy; through `ms` 3/2 r."""
        return 2 * max(19, 3 * self.ratio // 2 + 1) + 1

    @nn.compact
    def __call__(self, pan, ms, lms, train: bool = False):
        """Fuses a batch; see `Network`.

        Raises:
            UserError: `guide_dim` is not `feat_dim`, or that is not a multiple of 4; sizes that do
                not fit together.
        """
        if self.guide_dim != self.feat_dim or self.feat_dim % 4:
            raise UserError(
                f"ramsf: feat_dim={self.feat_dim} and guide_dim={self.guide_dim} must be one "
                "multiple of 4"
            )
        height, width = pan.shape[1:3]
        pan, ms, lms = pad_sample(pan, ms, lms, ratio=self.ratio, multiple=2)

        def encode(image, name):
            image = Conv(self.feat_dim, name=name)(image)
            return PReLU(name=f"{name}_prelu")(image)

        def refine(image, name):
            return ResBlock(name=name)(image)

        # Details: the subbands of both images, joined from fine to coarse.
        of_pan = dwt(refine(encode(pan, "pan_encoder"), "DE_pan"))
        of_ms = dwt(refine(encode(lms, "lms_encoder"), "DE_lms"))
        hl = refine(of_pan.hl + of_ms.hl, "DE_HL")
        lh = refine(of_pan.lh + of_ms.lh, "DE_LH")
        hh = refine(of_pan.hh + of_ms.hh, "DE_HH")
        details = refine(refine(hl + lh, "DE_HH_HH") + hh, "DE_PAN")
        quarters = jnp.split(details + of_pan.ll, 4, axis=-1)
        spatial = encode(idwt(Subbands(*quarters)), "spatial_encoder")  # (B, H, W, feat_dim)

        # From h to H / 2, from there to H.
        spectral = encode(ms, "spectral_encoder")  # (B, h, w, feat_dim)
        halved = nn.max_pool(spatial, (2, 2), strides=(2, 2))
        middle = ImplicitMLP(self.mlp_dim, self.nir_dim - 1, name="imnet_64")
        middle = middle([spectral], halved)  # (B, H / 2, W / 2, nir_dim - 1)
        residual = ImplicitMLP(self.mlp_dim, self.num_bands, name="imnet_128")
        fused = lms + residual([middle], spatial)
        return {"fused": fused[:, :height, :width]}


Model = RAMSF
