"""The images of a page: what each is called, where it lies, and its pixels tile by tile."""

import contextlib
import dataclasses
import math
import threading
from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath

import numpy as np
from rasterio.enums import Resampling
from rasterio.windows import Window

from rsfusion_jax.data.opening import GDAL_ERRORS, Trust
from rsfusion_jax.errors import UserError
from rsfusion_jax.runs.stored_json import BadJSONError, read_object
from rsfusion_jax.scenes.pair.raster_file import RasterFile
from rsfusion_jax.scenes.pair.source import Source, find_source, opened, unreadable
from rsfusion_jax.scenes.product.colours import choose_rgb
from rsfusion_jax.scenes.viewer.frame import Place, place
from rsfusion_jax.scenes.viewer.tiles import SIDE
from rsfusion_jax.sensors import get_sensor, list_sensors

CUTS = (0.0, 0.5, 1.0, 2.0, 5.0)
"""Percent of the values that a stretch may leave out at either end."""
_TYPES = "uint8 int8 uint16 int16 uint32 int32 uint64 int64 float32 float64".split()
_DIFFERENCES = {"RSFUSION_INTERVAL": "half width", "RSFUSION_DRAWS": "deviation"}
"""Roles by the tags of the rasters that `rsfusion fuse --interval` and `--std` write."""
_PARTS, _PART = 6, 128
"""Parts along each axis, and their side in pixels, whose values a stretch of an image is from."""


@dataclasses.dataclass(frozen=True)
class Layer:
    """One image of a page.

    Attributes:
        title: what the page calls it.
        role: "fused", "PAN", "MS", "half width" or "deviation" (of a scene's pixels), or "other";
            with a title of its own, that title.
        source: where it comes from.
        handle: the open image, for one thread at a time.
        place: its grid on the scene's pixels.
        size: (height, width) in pixels.
        dtype: NumPy name of its values.
        bands: index in the file of every band, from 1.
        names: name of every band.
        wavelengths: centre of every band in nm; None where not all are known.
        rgb: places in `bands` of red, green and blue.
        cuts: per band, the values below and above which each of `CUTS` percent of its values lie.
        tags: tags of the file.
    """

    title: str
    role: str
    source: Source
    handle: "_Handle"
    place: Place
    size: tuple[int, int]
    dtype: str
    bands: tuple[int, ...]
    names: tuple[str, ...]
    wavelengths: tuple[float, ...] | None
    rgb: tuple[int, int, int]
    cuts: tuple[tuple[tuple[float, float], ...], ...]
    tags: dict[str, str]

    @property
    def levels(self) -> int:
        """Levels of its pyramid: each halves the size, and the last one fits into a tile."""
        return max(0, math.ceil(math.log2(max(self.size) / SIDE))) + 1

    def level_size(self, level: int) -> tuple[int, int]:
        """Return (height, width) of a level."""
        return tuple(-(-size // 2**level) for size in self.size)

    def tile(
        self, level: int, row: int, column: int, bands: Sequence[int]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Read a tile.

        Args:
            level: level of the pyramid; from 1 on, values are means of those of the file.
            row, column: place of the tile among those of the level.
            bands: places in `self.bands`.

        Returns:
            (C, h, w) of the file's type, and (C, h, w) bool, what is valid.

        Raises:
            UserError: the file cannot be read there.
        """
        step = 2**level
        rows, columns = (
            (place * SIDE * step, min((place + 1) * SIDE * step, size))
            for place, size in zip((row, column), self.size, strict=True)
        )
        shape = tuple(-(-(stop - start) // step) for start, stop in (rows, columns))
        return self._read(Window.from_slices(rows, columns), shape, bands)

    def pixel(self, row: int, column: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the values of all bands at one pixel, (C,), and (C,) bool, which are valid."""
        window = Window(column, row, 1, 1)
        values, valid = self._read(window, (1, 1), range(len(self.bands)))
        return values[:, 0, 0], valid[:, 0, 0]

    def _read(self, window, shape, bands) -> tuple[np.ndarray, np.ndarray]:
        indexes = [self.bands[band] for band in bands]
        return self.handle.read(indexes, window, (len(indexes), *shape))


class _Handle:
    """An open dataset for one thread at a time: GDAL's datasets are not safe to share."""

    def __init__(self, file, source: Source):
        self._file, self._source, self._lock = file, source, threading.Lock()

    def read(self, bands, window, shape) -> tuple[np.ndarray, np.ndarray]:
        """Read a window of some bands, reduced to a shape: values, and what is valid."""
        options = {"window": window, "out_shape": shape}
        with self._lock:
            try:
                image = self._file.read(bands, resampling=Resampling.average, **options)
                valid = self._file.read_masks(bands, **options) > 0
            except GDAL_ERRORS as error:
                raise unreadable(self._source, error, "the image") from error
        return image, valid & np.isfinite(image)


@contextlib.contextmanager
def open_layers(
    out, others: Sequence, trust: Trust, titles: Sequence[str] | None = None
) -> Iterator[tuple[object, list[Layer]]]:
    """Open the fused scene and what is shown beside it.

    Args:
        out: the fused scene: a path, or another name that GDAL opens.
        others: PAN, MS and other images, in any order.
        trust: what GDAL may open besides what the names say.
        titles: title of every image, `out`'s first; None for roles and names of files.

    Yields:
        The open dataset of the scene, and the layers, the scene's first.

    Raises:
        UserError: an image that cannot be opened, or lies elsewhere than the scene.
    """
    with contextlib.ExitStack() as stack:
        sources = [find_source(where, "the image", trust) for where in (out, *others)]
        files = [stack.enter_context(opened(source, "the image")) for source in sources]
        scene, layers = files[0], []
        for file, source in zip(files, sources, strict=True):
            described = RasterFile(source, "the image")
            stack.callback(described.close)
            if file is scene:
                placed, where = file, Place()
                first = described
            else:
                placed, where = place(file, scene)
                if placed is not file:
                    stack.enter_context(placed)
            if titles is None:
                role = _role(described, first, where, layers)
                shown = PurePosixPath(source.name).name
                title = shown if role == "other" else f"{role}: {shown}"
            else:
                title = role = titles[len(layers)]
            layers.append(_layer(described, placed, source, where, title, role, layers))
        yield scene, layers


def _layer(described, file, source, where, title, role, layers) -> Layer:
    dtype = np.dtype(described.dtype).name
    if dtype not in _TYPES or len({file.dtypes[band - 1] for band in described.bands}) > 1:
        raise UserError(
            f"{source} holds {', '.join(sorted({*file.dtypes}))}; a page shows images of one type "
            f"out of {', '.join(_TYPES)}, so convert it first"
        )
    handle, size = _Handle(file, source), (file.height, file.width)
    sensor = _sensor(described, layers)
    names = [described.names[band - 1] for band in described.bands]
    centres = [described.wavelengths[band - 1] for band in described.bands]
    if sensor is not None:
        names = [own or known for own, known in zip(names, sensor.bands, strict=True)]
        if None in centres and sensor.wavelengths is not None:
            centres = sensor.wavelengths
    return Layer(
        title=title,
        role=role,
        source=source,
        handle=handle,
        place=where,
        size=size,
        dtype=dtype,
        bands=tuple(described.bands),
        names=tuple(name or f"band {i}" for i, name in enumerate(names, start=1)),
        wavelengths=None if None in centres else tuple(map(float, centres)),
        rgb=choose_rgb(described, sensor, None),
        cuts=_cuts(handle, size, described.bands),
        tags=described.tags,
    )


def _role(described, first, where: Place, layers: list[Layer]) -> str:
    """What an image is to the scene: as the scene's tags name its inputs, else by its grid."""
    if not layers:
        return "fused"
    taken = {layer.role for layer in layers}
    inputs = stored_object(first.tags.get("RSFUSION_INPUTS"))
    for role in ("PAN", "MS"):
        if inputs.get(role) == described.path.name and role not in taken:
            return role
    for tag, role in _DIFFERENCES.items():
        if tag in described.tags:
            return role
    if described.tags.get("RSFUSION_VERSION"):
        return "other"
    coarser = min(where.scale) > 1.4
    if len(described.bands) == 1 and not coarser and "PAN" not in taken | {*inputs}:
        return "PAN"
    if len(described.bands) == len(first.bands) and coarser and "MS" not in taken:
        return "MS"
    return "other"


def _sensor(described, layers: list[Layer]):
    """The record of the image's bands, by its own metadata or the scene's tags."""
    tags = layers[0].tags if layers else described.tags
    name = described.sensor or tags.get("RSFUSION_SENSOR")
    if isinstance(name, str):
        name = get_sensor(name) if name in list_sensors() else None
    return None if name is None else described.bands_of(name)


def _cuts(handle: _Handle, size: tuple[int, int], bands: Sequence[int]):
    """Percentiles of every band, from parts spread over the image."""
    places = [sorted({round(at) for at in np.linspace(0, max(n - _PART, 0), _PARTS)}) for n in size]
    height, width = (min(_PART, n) for n in size)
    values = [[] for _ in bands]
    for row in places[0]:
        for column in places[1]:
            window = Window(column, row, width, height)
            image, valid = handle.read(list(bands), window, (len(bands), height, width))
            for found, band, right in zip(values, image, valid, strict=True):
                found.append(band[right])
    percents = [percent for cut in CUTS for percent in (cut, 100 - cut)]
    cuts = []
    for found in values:
        found = np.concatenate(found)
        ends = np.percentile(found, percents) if found.size else np.tile((0.0, 1.0), len(CUTS))
        cuts.append(tuple((float(low), float(high)) for low, high in ends.reshape(-1, 2)))
    return tuple(cuts)


def stored_object(text: str | None) -> dict:
    """Read a tag that holds a JSON object; an empty one where there is none."""
    try:
        return read_object(text or "{}")
    except BadJSONError:
        return {}
