"""The local implicit ensemble in PyTorch: a coarse map read on the grid of a fine one.

"published" samples features and coordinates at four shifted grids and gives the MLP whole vectors.
"best" finds the same coarse pixels by repeating and cutting, and applies the first, linear layer to
the coarse and the fine map before they meet.
"""

import itertools

import torch
import torch.nn.functional as F
from torch import nn

SIDES = tuple(itertools.product((0, 1), (0, 1)))
"""Above or below, left or right of the fine pixel."""


class ImplicitQuery(nn.Module):
    """MLP of [coarse, guide, offset] at four corners, blended by the softmax of its last output."""

    def __init__(self, inputs, guide, hidden, outputs, formulation):
        super().__init__()
        self.sampled = formulation == "published"
        sizes = (inputs + guide + 2, *hidden, outputs + 1)
        pairs = [(nn.Linear(*pair), nn.ReLU()) for pair in itertools.pairwise(sizes)]
        self.layers = nn.Sequential(*[layer for pair in pairs for layer in pair][:-1])

    def forward(self, coarse, guide):
        """(B, c, h, w) and (B, g, H, W) -> (B, outputs, H, W); H / h is an even number."""
        predict = self._sampled if self.sampled else self._indexed
        predictions = torch.stack(list(predict(coarse, guide)))
        values, logits = predictions[:, :, :-1], predictions[:, :, -1:]
        return (values * logits.softmax(0)).sum(0)

    def _sampled(self, coarse, guide):
        low, size = coarse.shape[-2:], guide.shape[-2:]
        positions, centres = (_centres(shape, coarse) for shape in (size, low))
        halves = coarse.new_tensor([2 / n for n in low])
        for side in SIDES:
            shifted = positions + (coarse.new_tensor(side) - 0.5) * halves
            grid = shifted.flip(-1).expand(len(coarse), -1, -1, -1)  # x before y
            centre = centres.permute(2, 0, 1).expand(len(coarse), -1, -1, -1)
            values, centre = (
                F.grid_sample(image, grid, mode="nearest", align_corners=False)
                for image in (coarse, centre)
            )
            offset = (positions.permute(2, 0, 1) - centre) * 2 / halves.view(2, 1, 1)
            vectors = torch.cat([values, guide, offset], 1).flatten(2).transpose(1, 2)
            yield self.layers(vectors).transpose(1, 2).unflatten(-1, size)

    def _indexed(self, coarse, guide):
        low, (height, width) = coarse.shape[-2:], guide.shape[-2:]
        ratio = height // low[0]
        first, *deeper = [layer for layer in self.layers if isinstance(layer, nn.Linear)]
        widths = coarse.shape[1], guide.shape[1], 2
        of_coarse, of_guide, of_offset = first.weight[..., None, None].split(widths, 1)
        # One coarse pixel of zeros around: what lies beyond the border.
        coarse = F.pad(F.conv2d(coarse, of_coarse), (1, 1, 1, 1))
        coarse = F.interpolate(coarse, scale_factor=ratio, mode="nearest")
        fine = F.conv2d(guide, of_guide, first.bias)
        offsets = F.conv2d(_offsets(low, (height, width), guide), of_offset)
        for (row, column), offset in zip(SIDES, offsets, strict=True):
            top, left = (ratio // 2 + side * ratio for side in (row, column))
            x = coarse[..., top : top + height, left : left + width] + (fine + offset)
            for layer in deeper:
                x = F.conv2d(x.relu(), layer.weight[..., None, None], layer.bias)
            yield x


def _centres(size, like):
    """(H, W, 2): row and column of the pixels' centres on [-1, 1]."""
    axes = [(2 * torch.arange(n, dtype=like.dtype, device=like.device) + 1) / n - 1 for n in size]
    return torch.stack(torch.meshgrid(*axes, indexing="ij"), -1)


def _offsets(low, size, like):
    """(4, 2, H, W): position relative to each corner, in halves of a coarse pixel.

    It is relative to the centre of the image where the corner lies beyond the border.
    """
    to_centre, to_corner, inside = [], [], []
    for coarse, fine in zip(low, size, strict=True):
        ratio = fine // coarse
        position = (torch.arange(fine, dtype=like.dtype, device=like.device) + 0.5) / ratio - 0.5
        corners = torch.stack([position.floor(), position.ceil()])
        to_centre.append(2 * position + 1 - coarse)
        to_corner.append(2 * (position - corners))
        inside.append((corners >= 0) & (corners < coarse))
    shape = 2, 2, *size
    # Rows along the first and third axis, columns along the second and fourth.
    inside = inside[0][:, None, :, None] & inside[1][None, :, None, :]
    rows = torch.where(inside, to_corner[0][:, None, :, None], to_centre[0][:, None])
    columns = torch.where(inside, to_corner[1][None, :, None, :], to_centre[1])
    return torch.stack([rows.expand(shape), columns.expand(shape)], 2).flatten(0, 1)
