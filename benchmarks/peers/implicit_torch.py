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
        values, logits = predictions[..., :-1], predictions[..., -1:]
        return (values * logits.softmax(0)).sum(0).permute(0, 3, 1, 2)

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
            yield self.layers(torch.cat([values, guide, offset], 1).permute(0, 2, 3, 1))

    def _indexed(self, coarse, guide):
        low, (height, width) = coarse.shape[-2:], guide.shape[-2:]
        ratio = height // low[0]
        first, *deeper = [layer for layer in self.layers if isinstance(layer, nn.Linear)]
        widths = coarse.shape[1], guide.shape[1], 2
        of_coarse, of_guide, of_offset = first.weight.split(widths, 1)
        # Repeated with one coarse pixel of zeros around: what lies beyond the border.
        coarse = F.pad(F.linear(coarse.permute(0, 2, 3, 1), of_coarse), (0, 0, 1, 1, 1, 1))
        coarse = coarse[:, :, None, :, None].expand(-1, -1, ratio, -1, ratio, -1)
        coarse = coarse.flatten(3, 4).flatten(1, 2)
        fine = F.linear(guide.permute(0, 2, 3, 1), of_guide, first.bias)
        offsets = F.linear(_offsets(low, (height, width), guide), of_offset)
        for (row, column), offset in zip(SIDES, offsets, strict=True):
            top, left = (ratio // 2 + side * ratio for side in (row, column))
            x = (fine + offset).add_(coarse[:, top : top + height, left : left + width])
            for layer in deeper:
                x = layer(x.relu_())
            yield x


def _centres(size, like):
    """(H, W, 2): row and column of the pixels' centres on [-1, 1]."""
    axes = [(2 * torch.arange(n, dtype=like.dtype, device=like.device) + 1) / n - 1 for n in size]
    return torch.stack(torch.meshgrid(*axes, indexing="ij"), -1)


def _offsets(low, size, like):
    """(4, H, W, 2): position relative to each corner, in halves of a coarse pixel.

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
    return torch.stack([rows.expand(shape), columns.expand(shape)], -1).flatten(0, 1)
