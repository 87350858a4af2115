"""Where an image comes from: a file, another name that GDAL opens, or several files of one grid."""

import dataclasses
import os
import re
import warnings
import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import numpy as np
import rasterio
import rasterio.shutil
from rasterio.enums import ColorInterp, MaskFlags

from rsfusion_jax.data.opening import GDAL_ERRORS, Trust, files_behind, open_dataset
from rsfusion_jax.errors import UserError, check_name, not_a_file
from rsfusion_jax.scenes.pair.metadata import find_satellite
from rsfusion_jax.sensors import Sensor, get_sensor

_DRIVER = re.compile(r"[A-Za-z][A-Za-z0-9_]+:(?!//)")
"""Names of subdatasets begin with a driver's name, such as HDF5: or SENTINEL2_L2A:."""
_SAME = 1e-3
"""Share of a pixel by which the corners of files of one grid may differ."""


@dataclasses.dataclass(frozen=True)
class Source:
    """Where an image comes from.

    Attributes:
        dataset: what GDAL opens.
        text: what messages call it.
        files: names of the files behind it, as GDAL spells them.
        sensor: whose bands these are, where a product says it; None where the file itself may say.
        trust: what the user allows besides what the name says.
    """

    dataset: str
    text: str
    files: tuple[str, ...]
    sensor: Sensor | None = None
    trust: Trust = Trust()  # noqa: RUF009 - it is frozen

    def __str__(self) -> str:
        return self.text

    @property
    def name(self) -> str:
        """Short name for messages."""
        return PurePosixPath(self.text.replace(os.sep, "/")).name or self.text

    @property
    def on_disk(self) -> list[Path]:
        """The files on this machine that it is read from, those of virtual datasets too."""
        found = [_on_disk(name) for name in self.files]
        files = [file for path in found if path is not None for file in files_behind(path)]
        return list(dict.fromkeys(files))

    @property
    def marks(self) -> list:
        """Name, and size and time of every file on this machine: what changes with the image."""
        status = [path.stat() for path in self.on_disk]
        if len(self.files) == 1 and len(status) == 1:
            return [self.name, status[0].st_size, status[0].st_mtime_ns]
        return [self.name, *([s.st_size, s.st_mtime_ns] for s in status)]


def find_source(where, label: str, trust: Trust = Trust()) -> Source:  # noqa: B008
    """Find an image.

    Args:
        where: path, other name that GDAL or rasterio opens (such as /vsizip/, zip://, https:// or a
            subdataset), a `Source`, or several of these, one after the other the bands of one
            image.
        label: "PAN" or "MS", for messages.
        trust: what the user allows besides what the names say.

    Raises:
        UserError: no such file, or files that are not of one grid.
    """
    if isinstance(where, Source):
        return where
    if isinstance(where, str | os.PathLike):
        text = os.fspath(where)
        check_name(text)
        return Source(_gdal_name(text, label), text, (text,), trust=trust)
    sources = [find_source(one, label, trust) for one in where]
    if not sources:
        raise UserError(f"no file is given for {label}; give a GeoTIFF, or one file per band")
    return sources[0] if len(sources) == 1 else stack(sources, label)


def stack(sources: Sequence[Source], label: str, names: Sequence[str] | None = None) -> Source:
    """Put the bands of several files of one grid one after the other, as a virtual dataset of GDAL.

    Args:
        sources: the files.
        label: "PAN" or "MS", for messages.
        names: names of the bands; None for those in the files, else the parts in which the files'
            own names differ.

    Raises:
        UserError: files of different grids, or with an alpha band or mask.
    """
    if len({source.text for source in sources}) < len(sources):
        texts = [source.text for source in sources]
        twice = next(text for text in texts if texts.count(text) > 1)
        raise UserError(f"{twice} is given twice for {label}; give every band once")
    own_names = names or _differing_parts([source.name for source in sources])
    documents, dtypes, grids = [], [], []
    for source in sources:
        with opened(source, label) as file:
            _check_plain(file, source, label)
            dtypes += file.dtypes
            grids.append((file.shape, file.transform, file.crs))
            _check_grid(grids[0], grids[-1], sources[0], source)
            documents.append(as_vrt(file, source, label))
    whole, count = documents[0], 0
    dtype = np.result_type(*dtypes)
    for document, name in zip(documents, own_names, strict=True):
        bands = document.findall("VRTRasterBand")
        for index, band in enumerate(bands, start=1):
            count += 1
            if document is not whole:
                whole.append(band)
            band.set("band", str(count))
            band.set("dataType", _GDAL_TYPES[dtype.name])
            _name_band(band, name if len(bands) == 1 else f"{name}_{index}", names is not None)
    for colour in whole.iter("ColorInterp"):
        if colour.text == "Gray":
            colour.text = "Undefined"
    return Source(
        ElementTree.tostring(whole, encoding="unicode"),
        f"{sources[0].text} and {len(sources) - 1} more",
        tuple(file for source in sources for file in source.files),
    )


def pick(
    source: Source,
    label: str,
    *,
    bands: Sequence[int] | None = None,
    names: Sequence[str] | None = None,
    nodata: float | None = None,
    sensor: Sensor | None = None,
    text: str | None = None,
) -> Source:
    """Take some bands of a source, and state what its files leave out, as a virtual dataset.

    Args:
        source: the source.
        label: what messages call it, such as "MS".
        bands: bands to take, from 1, in this order; None for all.
        names: names of these bands; None for those it has.
        nodata: value of invalid pixels; None for the one that it states.
        sensor: record of these bands; None where the file itself may say.
        text: what messages call the result; None for what they call `source`.
    """
    with opened(source, label) as file:
        document = as_vrt(file, source, label)
    every = document.findall("VRTRasterBand")
    for band in every:
        document.remove(band)
    taken = every if bands is None else [every[index - 1] for index in bands]
    for index, band in enumerate(taken, start=1):
        band.set("band", str(index))
        document.append(band)
        if nodata is not None:
            for element in band.findall("NoDataValue"):
                band.remove(element)
            element = ElementTree.Element("NoDataValue")
            element.text = f"{nodata:g}"
            place = [i for i, child in enumerate(band) if child.tag in ("Metadata", "Description")]
            band.insert(place[-1] + 1 if place else 0, element)
        if names is not None:
            _name_band(band, names[index - 1], True)
    xml = ElementTree.tostring(document, encoding="unicode")
    return Source(xml, text or source.text, source.files, sensor or source.sensor)


def coarsened(source: Source, label: str, ratio: int) -> Source:
    """Undo an earlier enlargement: means of blocks of pixels, as a virtual dataset.

    Args:
        source: an image that was enlarged.
        label: what messages call it.
        ratio: side of the blocks in pixels.

    Raises:
        UserError: an image smaller than a block.
    """
    with opened(source, label) as file:
        document = as_vrt(file, source, label)
        size = file.height // ratio, file.width // ratio
        a, b, c, d, e, f, *_ = file.transform
        grid = rasterio.Affine(ratio * a, ratio * b, c, ratio * d, ratio * e, f)
        satellite = find_satellite(file)
    if not all(size):
        raise UserError(f"--ratio={ratio}: {source} is smaller than {ratio}x{ratio} pixels")
    document.set("rasterYSize", str(size[0]))
    document.set("rasterXSize", str(size[1]))
    place = document.find("GeoTransform")
    if place is not None:
        place.text = ", ".join(f"{value:.17g}" for value in grid.to_gdal())
    for band in document.iter("VRTRasterBand"):
        nodata = band.find("NoDataValue")
        for pixels in band.findall("SimpleSource"):
            pixels.set("resampling", "average")
            reach = pixels.find("DstRect")
            for name in ("xOff", "yOff", "xSize", "ySize"):
                reach.set(name, f"{float(reach.get(name)) / ratio:.17g}")
            if nodata is not None:
                pixels.tag = "ComplexSource"
                ElementTree.SubElement(pixels, "NODATA").text = nodata.text
    sensor = source.sensor or (get_sensor(satellite) if satellite else None)
    xml = ElementTree.tostring(document, encoding="unicode")
    return Source(xml, source.text, source.files, sensor)


_GDAL_TYPES = {
    "uint8": "Byte",
    "int8": "Int8",
    "uint16": "UInt16",
    "int16": "Int16",
    "uint32": "UInt32",
    "int32": "Int32",
    "uint64": "UInt64",
    "int64": "Int64",
    "float32": "Float32",
    "float64": "Float64",
}


def as_vrt(file, source: Source, label: str) -> ElementTree.Element:
    """The XML of a virtual dataset that is an open dataset.

    Args:
        file: the open dataset.
        source, label: what messages call it.

    Raises:
        UserError: GDAL opens it, but cannot make sense of it.
    """
    try:
        with rasterio.MemoryFile(ext=".vrt") as memory, warnings.catch_warnings():
            warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
            rasterio.shutil.copy(file, memory.name, driver="VRT")
            with rasterio.open(memory.name) as virtual:
                xml = virtual.tags(ns="xml:VRT")["xml:VRT"]
    except GDAL_ERRORS as error:
        raise unreadable(source, error, label) from error
    # A product's own XML would stand in it undeclared; nobody reads it from here.
    xml = re.sub(r'\s*<Metadata domain="xml:[^"]*"[^>]*>.*?</Metadata>', "", xml, flags=re.DOTALL)
    # Each thread's dataset opens files of its own: handles are not safe to share.
    xml = re.sub(r'(<SourceFilename[^>]*?) shared="\d"', r"\1", xml)
    xml = xml.replace("<SourceFilename", '<SourceFilename shared="0"')
    return ElementTree.fromstring(xml)


def opened(source: Source, label: str):
    """Open a source with rasterio; what GDAL says of a damaged file becomes one sentence."""
    try:
        return open_dataset(source.dataset, source.trust)
    except GDAL_ERRORS as error:
        raise unreadable(source, error, label) from error


def unreadable(source: Source, error: Exception, label: str) -> UserError:
    """What to tell the user of a dataset that GDAL cannot read."""
    cause = " ".join(str(error.__cause__ or error).split())
    if len(source.dataset) > 200:
        cause = cause.replace(source.dataset, str(source))
    if _on_disk(source.files[0]) is None:
        advice = f"check {label}'s name and whether it can be reached"
    else:
        advice = "expected a complete GeoTIFF, so check the path or copy it again"
    return UserError(f"{source} cannot be read as an image ({cause}); {advice}")


def _gdal_name(text: str, label: str) -> str:
    path = Path(text)
    if path.is_file() or path.is_dir():
        if path.is_dir():
            raise UserError(f"{not_a_file(text)}; give {label} as a GeoTIFF")
        return os.path.abspath(text)
    # rasterio's zip://archive!inside leads nowhere for an archive in the working folder.
    archive = re.fullmatch(r"(zip|tar|gzip)://([^!]+)(?:!/?(.*))?", text)
    if archive is not None:
        inside = "" if archive[3] is None else f"/{archive[3]}"
        return f"/vsi{archive[1]}/{os.path.abspath(archive[2])}{inside}"
    if "://" in text or text.startswith(("/vsi", "<VRTDataset")) or _DRIVER.match(text):
        return text
    raise UserError(f"{not_a_file(text)}; give {label} as a GeoTIFF")


def _on_disk(name: str) -> Path | None:
    """The file on this machine that a name of GDAL or rasterio leads to; None for others."""
    name = re.sub(r"^[a-z+]+://", "", name) if not name.startswith("http") else name
    quoted = re.search(r'"([^"]+)"', name)
    name = quoted[1] if quoted else _DRIVER.sub("", name, count=1)
    name = re.sub(r"^(/vsi\w+/)+", "", name).partition("!")[0].strip("{}")
    for path in (Path(name), Path("/") / name):
        for candidate in (path, *path.parents):
            if candidate.is_file():
                return candidate
    return None


def _check_plain(file, source: Source, label: str) -> None:
    flags = {flag for flags in file.mask_flag_enums for flag in flags}
    own_mask = MaskFlags.per_dataset in flags and MaskFlags.nodata not in flags
    if ColorInterp.alpha in file.colorinterp or own_mask:
        raise UserError(
            f"{source} has an alpha band or a mask of its own, which one file per band cannot "
            f"carry; stack the files of {label} with gdalbuildvrt -separate first"
        )
    if not file.count:
        raise UserError(
            f"{source} has no bands but {len(file.subdatasets)} subdatasets; name one of them, "
            f"such as {next(iter(file.subdatasets), '-')}"
        )
    for dtype in file.dtypes:
        if dtype not in _GDAL_TYPES:
            raise UserError(f"{source} holds {dtype}, expected real numbers; convert it first")


def _check_grid(first, other, first_source: Source, source: Source) -> None:
    (size, transform, crs), (other_size, other_transform, other_crs) = first, other
    if size != other_size:
        raise UserError(
            f"{source} has {other_size[0]}x{other_size[1]} pixels and {first_source} "
            f"{size[0]}x{size[1]}; the files of one image need one grid, so give them apart or "
            "warp one with gdalwarp"
        )
    corners = np.array([[0, size[1], 0], [0, 0, size[0]], [1, 1, 1]], float)
    places = [np.reshape(tuple(t)[:6], (2, 3)) @ corners for t in (transform, other_transform)]
    misses = places[0] - places[1]
    pixel = min(abs(transform.determinant) ** 0.5, abs(other_transform.determinant) ** 0.5)
    if crs != other_crs or np.abs(misses).max() > _SAME * max(pixel, 1e-300):
        raise UserError(
            f"{source} lies elsewhere than {first_source} although they have one size; the files "
            "of one image need one grid, so check the names or warp one with gdalwarp"
        )


def _name_band(band, name: str, replace: bool) -> None:
    described = band.find("Description")
    if described is not None and not replace:
        return
    if described is None:
        described = ElementTree.Element("Description")
        # GDAL writes a band's metadata first, then its description.
        metadata = [i for i, child in enumerate(band) if child.tag == "Metadata"]
        band.insert(metadata[-1] + 1 if metadata else 0, described)
    described.text = name


def _differing_parts(names: Sequence[str]) -> list[str]:
    """`B4`, `B3` of `LC08_L1TP_B4.TIF`, `LC08_L1TP_B3.TIF`: what no two names have in common."""
    stems = [re.sub(r"\.\w+$", "", name) for name in names]
    tokens = [re.split(r"[_\-. ]", stem) for stem in stems]
    if len({len(parts) for parts in tokens}) > 1:
        return stems
    columns = [column for column in zip(*tokens, strict=True) if len({*column}) > 1]
    return ["_".join(parts) for parts in zip(*columns, strict=True)] if columns else stems
