"""What RSANet and MMAPP share in PyTorch: weighted-tap convolutions and windowed attention.

"published" unfolds the 3x3 and 7x7 windows of the images into tensors, as the authors' code does.
"best" reads shifted views and forms nothing of a window's size that the backward pass has to keep.
"""

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.checkpoint import checkpoint

TAPS, HEADS, WINDOW = 9, 3, 7


class AdaptiveConv(nn.Module):
    """y[m, p] = sum_n sum_o taps[o, p] x[n, p + o] weight[m, n, o], zeros beyond the border."""

    def __init__(self, inputs, outputs, formulation):
        super().__init__()
        self.unfolded = formulation == "published"
        self.weight = nn.Parameter(torch.empty(outputs, inputs, 3, 3))
        nn.init.kaiming_uniform_(self.weight, a=5**0.5)

    def convolve(self, x, taps):
        """(B, n, H, W) and (B, 9, H, W), or (B, 9, 1, 1) for all pixels alike -> (B, m, H, W)."""
        if self.unfolded:
            windows = F.unfold(x, 3, padding=1).unflatten(1, (-1, TAPS))  # (B, n, 9, H W)
            weighted = windows * taps.flatten(2)[:, None]
            return (self.weight.flatten(1) @ weighted.flatten(1, 2)).unflatten(-1, x.shape[-2:])
        if taps.shape[-2:] == (1, 1):
            return _convolve_each(x, self.weight, taps)
        # The weighted copies of x are cheaper to form again than to keep.
        return checkpoint(_convolve_shifted, x, self.weight, taps, use_reentrant=False)


def _convolve_shifted(x, weight, taps):
    height, width = x.shape[-2:]
    x = F.pad(x, (1, 1, 1, 1))
    shifted = (
        x[..., row : row + height, column : column + width]
        for row in range(3)
        for column in range(3)
    )
    weighted = [image * tap for image, tap in zip(shifted, taps.split(1, dim=1), strict=True)]
    matrix = weight.permute(0, 2, 3, 1).flatten(1)[..., None, None]  # tap by tap
    return F.conv2d(torch.cat(weighted, 1), matrix)


def _convolve_each(x, weight, taps):
    """Every image of the batch with its own kernel, as the groups of one convolution."""
    kernels = weight * taps.view(-1, 1, 1, 3, 3)
    y = F.conv2d(x.flatten(0, 1)[None], kernels.flatten(0, 1), padding=1, groups=len(x))
    return y[0].unflatten(0, (len(x), -1))


class WindowedAttention(nn.Module):
    """Projections of an image and the attention of every pixel to the 7x7 window around it.

    Three heads of three components, channel = head * 3 + component. The logit of pixel p for p + o
    is q(p) . (k(p + o) + e(p) - e(p + o)) / sqrt(3) with an encoding e of the position.
    """

    def __init__(self, inputs, formulation):
        super().__init__()
        self.unfolded = formulation == "published"
        self.conv1, self.conv2, self.conv3 = (nn.Conv2d(inputs, TAPS, 1) for _ in range(3))
        self.conv_p = nn.Conv2d(2, TAPS // HEADS, 1)

    def attend(self, x):
        """(B, n, H, W) -> (B, 9, H, W) and the projections q, k, v as one (B, 27, H, W)."""
        projections = self.conv1, self.conv2, self.conv3
        encoding = self.conv_p(_positions(x))
        if self.unfolded:
            images = [project(x) for project in projections]
            return _attend_unfolded(*images, encoding), torch.cat(images, 1)
        weight, bias = (torch.cat([getattr(p, n) for p in projections]) for n in ("weight", "bias"))
        images = F.conv2d(x, weight, bias)
        return _attend(*images.chunk(3, 1), encoding), images


def _positions(x):
    """(1, 2, H, W): x and y of every pixel in [-1, 1], end points included."""
    height, width = x.shape[-2:]
    rows, columns = (
        torch.linspace(-1, 1, n, dtype=x.dtype, device=x.device) for n in (height, width)
    )
    return torch.stack([columns.expand(height, width), rows[:, None].expand(height, width)])[None]


def _attend_unfolded(query, key, value, encoding):
    batch, _, height, width = query.shape

    def heads(image):
        return image.unflatten(1, (-1, TAPS // HEADS)).flatten(0, 1)  # (B heads, 3, H, W)

    def windows(image):
        image = F.pad(image, (WINDOW // 2,) * 4, mode="reflect")
        return F.unfold(image, WINDOW).unflatten(1, (-1, WINDOW**2))  # (..., 3, 49, H W)

    key, value, around = (windows(heads(image)) for image in (key, value, encoding))
    query = heads(query).flatten(2)[:, :, None] / (TAPS // HEADS) ** 0.5
    logits = (query * (key + (encoding.flatten(2)[:, :, None] - around))).sum(1)
    attended = (logits.softmax(1)[:, None] * value).sum(2)
    return attended.reshape(batch, TAPS, height, width)


def _attend(query, key, value, encoding):
    def heads(image):
        image = image.unflatten(1, (HEADS, -1)).contiguous()  # (B, heads, 3, H, W)
        return image.to(torch.promote_types(image.dtype, torch.float32))

    def pad(image):
        return F.pad(image, (WINDOW // 2,) * 4, mode="reflect")

    # The term with e(p) is the same for the whole window and drops out of the softmax.
    key = pad(key - encoding.repeat(1, HEADS, 1, 1))
    images = query / (TAPS // HEADS) ** 0.5, key, pad(value)
    return _WindowedSoftmax.apply(*map(heads, images)).flatten(1, 2).to(query.dtype)


class _WindowedSoftmax(torch.autograd.Function):
    """out(p) = sum_o softmax_o(query(p) . key(p + o)) value(p + o), the weights never kept.

    `query` is (B, heads, d, H, W), `key` and `value` are larger by half a window on every side.
    The backward pass forms the weights twice from the softmax's denominators: as a pixel weighs its
    window, and as it is weighed by the pixels in whose windows it lies. Nothing is scattered.
    """

    @staticmethod
    def forward(ctx, query, key, value):
        logits = _dot(query, _windows(key))
        highest = logits.amax((0, 1))
        weights = logits.sub_(highest).exp_()
        total = weights.sum((0, 1))
        out = _weigh(weights, _windows(value)) / total[..., None, :, :]
        ctx.save_for_backward(query, key, value, out, highest + total.log())
        return out

    @staticmethod
    def backward(ctx, d_out):
        query, key, value, out, log_total = ctx.saved_tensors
        mean = (d_out * out).sum(-3)
        keys, values = _windows(key), _windows(value)
        _, d_logits = _backward(query, keys, values, d_out, log_total, mean)
        d_query = _weigh(d_logits, keys)

        def asking(image, beyond=0.0):
            return _windows(F.pad(image, (WINDOW - 1,) * 4, value=beyond))

        queries, d_outs, means = map(asking, (query, d_out, mean))
        log_totals = asking(log_total, float("inf"))  # no weight beyond the border
        weights, d_logits = _backward(queries, key, value, d_outs, log_totals, means)
        return d_query, _weigh(d_logits, queries), _weigh(weights, d_outs)


def _backward(query, key, value, d_out, log_total, mean):
    """Weights and the gradient of their logits."""
    weights = _dot(query, key).sub_(log_total).exp_()
    return weights, _dot(d_out, value).sub_(mean).mul_(weights)


def _windows(image):
    """(..., H, W) -> (7, 7, ..., H - 6, W - 6), a view: pixels stay contiguous."""
    image = image.unfold(-2, WINDOW, 1).unfold(-2, WINDOW, 1)
    return image.movedim((-2, -1), (0, 1))


def _dot(a, b):
    """Sum over the components, the third axis from behind; the others broadcast."""
    # Beginning with zeros settles the layout in memory: that of a product of overlapping views is
    # otherwise the view's, and sums over it are ten times slower.
    total = a.new_zeros(torch.broadcast_shapes(a.select(-3, 0).shape, b.select(-3, 0).shape))
    for x, y in zip(a.unbind(-3), b.unbind(-3), strict=True):
        total.addcmul_(x, y)
    return total


def _weigh(weights, windows):
    """Sums over the windows, component by component."""
    return torch.stack([(weights * x).sum((0, 1)) for x in windows.unbind(-3)], -3)
