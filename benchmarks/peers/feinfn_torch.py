"""FeINFN in PyTorch: what `rsfusion_jax.models.feinfn` is timed against.

The same function and, under the authors' names, the same parameters. "published" reads the coarse
features at explicit coordinates with `grid_sample` and gives every corner's vector to the MLP.
"best" enlarges the coarse features once, so that every corner is a shifted window of the result,
and takes the MLP's first layer, which is linear, before that: its coarse part on the coarse grid,
its guide part once for four corners. The images then lie as channels_last has them.
"""

import functools

import torch
import torch.nn.functional as F
from torch import nn

DECODER_WIDTH = 128


class EDSRBlock(nn.Module):
    """x + conv(ReLU(conv(x)))."""

    def __init__(self, features):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(features, features, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(features, features, 3, padding=1),
        )

    def forward(self, x):
        """(B, c, H, W) -> the same."""
        return x + self.body(x)


class EDSR(nn.Module):
    """Encoder: a convolution, residual blocks and a convolution around which a skip goes."""

    def __init__(self, inputs, features, blocks):
        super().__init__()
        self.head = nn.Sequential(nn.Conv2d(inputs, features, 3, padding=1))
        body = [EDSRBlock(features) for _ in range(blocks)]
        self.body = nn.Sequential(*body, nn.Conv2d(features, features, 3, padding=1))

    def forward(self, x):
        """(B, c, H, W) -> (B, features, H, W)."""
        x = self.head(x)
        return x + self.body(x)


class HighPass(nn.Module):
    """The authors' fixed filter, on every channel."""

    def __init__(self):
        super().__init__()
        kernel = [[0.0, -1.0, 0.0], [-1.0, 1.0, -1.0], [0.0, -1.0, 0.0]]
        self.register_buffer("kernel", torch.tensor(kernel))

    def forward(self, x):
        """(B, c, h, w) -> the same."""
        channels = x.shape[1]
        kernel = self.kernel.expand(channels, 1, 3, 3)
        return F.conv2d(x, kernel, padding=1, groups=channels)


class PixelWaves(nn.Module):
    """Sine and cosine of a pixel's number, from a table stretched over the image."""

    def __init__(self):
        super().__init__()
        positions = torch.arange(4096, dtype=torch.float64)
        table = torch.stack([positions.sin(), positions.cos()], dim=-1)
        self.register_buffer("pe", table.float())

    def forward(self, pixels):
        """-> (pixels, 2)."""
        return F.interpolate(self.pe.T[None], pixels, mode="linear")[0].T


class MLP(nn.Module):
    """Linear layers with ReLU between them."""

    def __init__(self, inputs, hidden, features):
        super().__init__()
        layers = []
        for width in hidden:
            layers += [nn.Linear(inputs, width), nn.ReLU()]
            inputs = width
        self.layers = nn.Sequential(*layers, nn.Linear(inputs, features))

    def forward(self, x):
        """(..., inputs) -> (..., features)."""
        return self.layers(x)


class PhaseMLP(nn.Module):
    """Pointwise and depthwise 3x3 layers with ReLU between them.

    The vectors (B, pixels, D) are read as if they lay in memory channel by channel, as the authors'
    code does it, and the results likewise the other way round.
    """

    def __init__(self, inputs, hidden, features):
        super().__init__()
        layers = []
        for width in (*hidden, features):
            pointwise = nn.Conv2d(inputs, width, 1, bias=False)
            depthwise = nn.Conv2d(width, width, 3, padding=1, groups=width, bias=False)
            layers += [nn.Sequential(pointwise, depthwise), nn.ReLU()]
            inputs = width
        self.layers = nn.Sequential(*layers[:-1])

    def forward(self, vectors, size):
        """(B, H W, D) -> (B, H W, features)."""
        batch, pixels, channels = vectors.shape
        x = self.layers(vectors.reshape(batch, channels, *size))
        return x.reshape(batch, pixels, -1)


class FrequencyMLPs(nn.Module):
    """The networks of the magnitudes and of the phases."""

    def __init__(self, inputs, hidden, features):
        super().__init__()
        self.imnet1 = MLP(inputs, hidden, features)
        self.imnet2 = PhaseMLP(inputs, hidden, features)


class Gabor(nn.Module):
    """Real part of exp(i omega u - (scale u)^2)."""

    def __init__(self):
        super().__init__()
        self.omega_0 = nn.Parameter(torch.full((1,), 30.0))
        self.scale_0 = nn.Parameter(torch.full((1,), 10.0))

    def forward(self, u):
        """Any shape -> the same."""
        wave = torch.exp(-torch.square(self.scale_0 * u)) * torch.cos(self.omega_0 * u)
        return wave.to(u.dtype)


class Decoder(nn.Module):
    """Spatial features, three times gated by Gabor wavelets of the others."""

    def __init__(self, inputs, features):
        super().__init__()
        gated = (inputs, DECODER_WIDTH + inputs, DECODER_WIDTH + inputs)
        waved = (inputs, DECODER_WIDTH, DECODER_WIDTH)
        self.K = nn.ModuleList(
            nn.Sequential(nn.Conv2d(width, DECODER_WIDTH, 1), nn.ReLU()) for width in gated
        )
        self.Q = nn.ModuleList(
            nn.Sequential(nn.Conv2d(width, DECODER_WIDTH, 1), Gabor()) for width in waved
        )
        self.last_layer = nn.Conv2d(DECODER_WIDTH, features, 1)

    def forward(self, spatial, frequency):
        """Two of (B, K, H, W) -> (B, features, H, W)."""
        x = self.K[0](spatial) * self.Q[0](frequency)
        for gate, wave in zip(self.K[1:], self.Q[1:], strict=True):
            x = gate(torch.cat([x, spatial], dim=1)) * wave(x)
        return self.last_layer(x)


class FeINFN(nn.Module):
    """The network; the arguments are the fields of `rsfusion_jax.models.feinfn.FeINFN`.

    `ratio` shows in the sizes of the images, and is not read.
    """

    def __init__(
        self,
        num_bands,
        guide_bands=1,
        ratio=4,
        feat_dim=128,
        guide_dim=128,
        spa_edsr_num=4,
        spe_edsr_num=4,
        mlp_dim=(256, 128),
        formulation="best",
    ):
        super().__init__()
        self.formulation = formulation
        self.spatial_encoder = EDSR(guide_bands + num_bands, guide_dim, spa_edsr_num)
        self.spectral_encoder = EDSR(num_bands, feat_dim, spe_edsr_num)
        self.imnet = MLP(2 * feat_dim + guide_dim + 2, mlp_dim, num_bands + 2)
        self.freq_query = FrequencyMLPs(feat_dim + guide_dim + 2, mlp_dim, num_bands + 2)
        self.hp, self.pe = HighPass(), PixelWaves()
        self.decoder = Decoder(num_bands + 1, num_bands)

    def forward(self, pan, ms, lms):
        """(B, G, H, W), (B, C, H/r, W/r), (B, C, H, W) -> fused (B, C, H, W)."""
        spatial = self.spatial_encoder(torch.cat([pan, lms], dim=1))
        spectral = self.spectral_encoder(ms)
        queries = self._by_corners if self.formulation == "published" else self._by_windows
        magnitude, phase, nir = queries(
            _spectrum(spectral), _spectrum(spatial), [spectral, self.hp(spectral)], spatial
        )
        magnitude, phase = _at_least_float32(magnitude), _at_least_float32(phase)
        spectrum = torch.complex(magnitude * phase.cos(), magnitude * phase.sin())
        frequency = torch.fft.ifft2(spectrum).abs().to(nir.dtype)
        return lms + self.decoder(nir, frequency)

    def _by_corners(self, of_low, of_guide, low, guide):
        height, width = guide.shape[-2:]
        phase = functools.partial(self.freq_query.imnet2, size=(height, width))
        return (
            _ask_corners(self.freq_query.imnet1, [of_low[0]], of_guide[0]),
            _ask_corners(phase, [of_low[1]], of_guide[1]),
            _ask_corners(self.imnet, low, guide, self.pe(height * width)),
        )

    def _by_windows(self, of_low, of_guide, low, guide):
        height, width = guide.shape[-2:]
        offsets = _offsets(low[0].shape[-2:], (height, width), self.pe.pe)
        waves = self.pe(height * width).unflatten(0, (height, width))
        return (
            _ask_windows(self.freq_query.imnet1, [of_low[0]], of_guide[0], offsets),
            _ask_phases(self.freq_query.imnet2, of_low[1], of_guide[1], offsets),
            _ask_windows(self.imnet, low, guide, offsets + waves),
        )


def _spectrum(image):
    """Magnitude and phase of the Fourier transform of (B, c, H, W).

    Bins that are their own mirror images are real; the phase of a negative one is pi, as where the
    authors' numbers were made. Some libraries' transforms leave a small imaginary part or -0 there.
    """
    spectrum = torch.fft.fft2(_at_least_float32(image))
    rows, columns = (2 * torch.arange(n, device=image.device) % n == 0 for n in image.shape[-2:])
    phase = spectrum.angle()
    return spectrum.abs(), torch.where(rows[:, None] & columns, phase.abs(), phase)


def _ask_corners(predict, low, guide, shift=0.0):
    """`predict` at the coarse pixels around every fine one, found by their coordinates.

    Coarse maps (B, c, h, w), guide (B, g, H, W), shift (H W, 2) -> (B, M, H, W).
    """
    batch, _, height, width = low[0].shape
    size = guide.shape[-2:]
    pixels = _centres(size, guide)  # (H W, 2)
    centres = _centres((height, width), guide).T.unflatten(1, (height, width))
    maps = [*low, centres.expand(batch, -1, -1, -1)]
    guide = guide.flatten(2).mT
    predictions = []
    for vertical in (-1, 1):
        for horizontal in (-1, 1):
            rows, columns = pixels[:, 0] + vertical / height, pixels[:, 1] + horizontal / width
            grid = torch.stack([columns, rows], dim=-1).expand(batch, 1, -1, -1)
            first, *others, centre = (
                F.grid_sample(image, grid, mode="nearest", align_corners=False)[:, :, 0].mT
                for image in maps
            )  # (B, H W, c), zero beyond the border
            rows, columns = (pixels - centre).unbind(-1)
            offset = torch.stack([rows * height, columns * width], dim=-1) + shift
            predictions.append(predict(torch.cat([first, guide, *others, offset], dim=-1)))
    return _blend(predictions).mT.unflatten(2, size)


def _centres(size, like):
    """Row and column of every pixel's centre, the image reaching from -1 to 1: (H W, 2)."""
    dtype = torch.promote_types(like.dtype, torch.float32)
    axes = ((2 * torch.arange(n, device=like.device, dtype=dtype) + 1) / n - 1 for n in size)
    return torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1).flatten(0, 1)


def _ask_windows(mlp, low, guide, offsets):
    """`mlp` at the coarse pixels around every fine one, its first layer taken apart.

    Coarse maps (B, c, h, w), guide (B, g, H, W), offsets (4, H, W, 2) -> (B, M, H, W).
    """
    first, *deeper = mlp.layers
    coarse, fine, *others = (_channels_last(image) for image in (low[0], guide, *low[1:]))
    widths = [image.shape[-1] for image in (coarse, fine, *others)]
    of_low, of_guide, *of_others, of_offset = first.weight.split([*widths, 2], dim=1)
    coarse = F.linear(coarse, of_low)
    for image, weight in zip(others, of_others, strict=True):
        coarse = coarse + F.linear(image, weight)
    fine = F.linear(fine, of_guide, first.bias)
    predictions = []
    for window, offset in zip(_windows(coarse, fine.shape[1]), offsets, strict=True):
        # A product over two channels: written so that a compiler joins it to the sum.
        rows, columns = offset[..., :1] * of_offset[:, 0], offset[..., 1:] * of_offset[:, 1]
        x = window + fine + (rows + columns).to(fine.dtype)
        for layer in deeper:
            x = layer(x)
        predictions.append(x)
    return _blend(predictions).permute(0, 3, 1, 2)


def _ask_phases(mlp, low, guide, offsets):
    """`_ask_windows` for the phases, whose first layer does not see one pixel at a time."""
    low, guide = _channels_last(low), _channels_last(guide)
    size, predictions = guide.shape[1:3], []
    for window, offset in zip(_windows(low, size[0]), offsets, strict=True):
        offset = offset.expand(len(guide), -1, -1, -1)
        vectors = torch.cat([window, guide, offset], dim=-1)
        predictions.append(mlp(vectors.flatten(1, 2), size))
    return _blend(predictions).mT.unflatten(2, size)


def _windows(image, rows):
    """The coarse pixel that every fine one finds in four directions, zero beyond the border.

    r x r fine pixels find the same one, beyond the border too: directions are shifts.
    (B, h, w, c), rows r h -> four of (B, r h, r w, c).
    """
    batch, height, width, channels = image.shape
    ratio = rows // height
    image = F.pad(image, (0, 0, 1, 1, 1, 1))[:, :, None, :, None]
    image = image.expand(-1, -1, ratio, -1, ratio, -1)
    image = image.reshape(batch, ratio * (height + 2), ratio * (width + 2), channels)
    shifts = ((ratio + 1) // 2, 2 * ratio - (ratio + 1) // 2)
    return [
        image[:, top : top + ratio * height, left : left + ratio * width]
        for top in shifts
        for left in shifts
    ]


def _offsets(low, size, like):
    """Positions of the fine pixels relative to what `_windows` finds, in halves of a coarse pixel.

    Relative to the centre of the image where that lies beyond the border. -> (4, H, W, 2).
    """
    to_corner, to_centre, inside = [], [], []
    for coarse, fine in zip(low, size, strict=True):
        ratio = fine // coarse
        position = 2 * torch.arange(fine, device=like.device) + 1 - ratio
        index = torch.stack([position // (2 * ratio), -(-position // (2 * ratio))])
        to_corner.append(position / ratio - 2 * index)
        to_centre.append(position / ratio + 1 - coarse)
        inside.append((index >= 0) & (index < coarse))
    inside = inside[0][:, None, :, None] & inside[1][:, None, :]  # (2, 2, H, W)
    rows = torch.where(inside, to_corner[0][:, None, :, None], to_centre[0][:, None])
    columns = torch.where(inside, to_corner[1][:, None, :], to_centre[1])
    return torch.stack([rows, columns], dim=-1).flatten(0, 1).to(like.dtype)


def _blend(predictions):
    """Four of (..., M + 1), the last a logit -> (..., M)."""
    weights = torch.stack([x[..., -1:] for x in predictions]).softmax(dim=0)
    terms = (w.to(x.dtype) * x[..., :-1] for w, x in zip(weights, predictions, strict=True))
    return functools.reduce(torch.add, terms)


def _channels_last(image):
    return image.permute(0, 2, 3, 1)


def _at_least_float32(x):
    return x.to(torch.promote_types(x.dtype, torch.float32))
