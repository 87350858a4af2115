"""xarray images as loaders leave them, brought to one layout: (band, y, x), north up, west left."""

import dataclasses

import numpy as np
import rasterio
import rioxarray  # noqa: F401  (gives arrays their .rio)
import xarray

from rsfusion_jax.errors import UserError

_SPATIAL = (("y", "x"), ("latitude", "longitude"), ("lat", "lon"), ("northing", "easting"))
_EVEN = 0.01
"""Share of a pixel by which the distances of coordinates may differ."""
_CRS_COORDINATES = ("epsg", "proj:epsg", "proj:code", "crs")
"""Scalar coordinates in which STAC loaders keep the coordinate system."""


@dataclasses.dataclass(frozen=True)
class Layout:
    """An array in the one layout, and how it was before.

    Attributes:
        array: (band, y, x), y falling and x rising, with its transform and coordinate system.
        spatial: names that y and x had.
        flipped: whether y, and whether x, ran the other way.
    """

    array: xarray.DataArray
    spatial: tuple[str, str]
    flipped: tuple[bool, bool]

    def restore(self, array: xarray.DataArray) -> xarray.DataArray:
        """Bring an array on this one's grid to the order and the names that this one had."""
        for name, flipped in zip(("y", "x"), self.flipped, strict=True):
            if flipped:
                array = array.isel({name: slice(None, None, -1)})
        if any(self.flipped):
            array = array.rio.write_transform(array.rio.transform(recalc=True))
        names = dict(zip(("y", "x"), self.spatial, strict=True))
        return array.rename({old: new for old, new in names.items() if old != new})


def arrange(array, label: str) -> Layout:
    """Bring an image of one time to the layout that is worked on.

    Args:
        array: DataArray, or Dataset whose variables are bands.
        label: "pan" or "ms", for messages.

    Raises:
        UserError: no image, or one whose place on the map cannot be told.
    """
    if isinstance(array, xarray.Dataset):
        array = _joined(array, label)
    spatial = next((pair for pair in _SPATIAL if {*pair} <= {*getattr(array, "dims", ())}), None)
    if not isinstance(array, xarray.DataArray) or spatial is None:
        raise UserError(
            f"{label} is {type(array).__name__} {getattr(array, 'dims', '')}, expected a DataArray "
            "with the dimensions (band, y, x), as rioxarray.open_rasterio gives it"
        )
    array = array.rename({a: b for a, b in zip(spatial, ("y", "x"), strict=True) if a != b})
    others = [name for name in array.dims if name not in ("y", "x", "band")]
    for name in others:
        if array.sizes[name] == 1:
            array = array.squeeze(name, drop=True)
        elif "band" not in array.dims and len(others) == 1:
            array = array.rename({name: "band"})
        else:
            raise UserError(
                f"{label} has {array.sizes[name]} places along {name!r} besides band, y and x; "
                f"choose one with .isel({name}=0)"
            )
    if "band" not in array.dims:
        # A scalar coordinate names the one band.
        array = array.expand_dims("band")
    array = _with_crs(array.transpose("band", "y", "x"))
    flipped = tuple(_runs(array, name, label, falls) for name, falls in (("y", True), ("x", False)))
    for name, flip in zip(("y", "x"), flipped, strict=True):
        if flip:
            array = array.isel({name: slice(None, None, -1)})
    if all(name in array.coords and array.sizes[name] > 1 for name in ("y", "x")):
        # A stored transform is that of the array before it was cropped or sorted.
        array = array.rio.write_transform(array.rio.transform(recalc=True))
    return Layout(array, spatial, flipped)


def times(pan, ms) -> list | None:
    """The times at which both are fused, one after the other; None where there is none or one.

    Raises:
        UserError: PAN has other times than MS.
    """
    found = [_times(image) for image in (pan, ms)]
    if len(found[1]) < 2 and len(found[0]) < 2:
        return None
    if len(found[0]) > 1 and not np.array_equal(*found):
        raise UserError(
            f"pan has {len(found[0])} times and ms {len(found[1])}, or other ones; choose those "
            "that both have with .sel(time=...)"
        )
    return list(range(len(found[1])))


def at_time(image, index: int):
    """An image at one of its times; one without several is the same at all."""
    return image.isel(time=index) if len(_times(image)) > 1 else image


def _times(image) -> np.ndarray:
    if "time" not in getattr(image, "dims", ()):
        return np.zeros(0)
    return np.asarray(image["time"].values)


def _joined(dataset: xarray.Dataset, label: str) -> xarray.DataArray:
    """The variables of a Dataset that are images, as bands."""
    images = [
        name
        for name, variable in dataset.data_vars.items()
        if any({*pair} <= {*variable.dims} for pair in _SPATIAL)
    ]
    if not images:
        raise UserError(f"{label} is a Dataset without an image; give one with y and x")
    kinds = {dataset[name].dtype for name in images}
    if len(kinds) > 1 and len({kind.kind for kind in kinds}) > 1:
        raise UserError(
            f"{label} is a Dataset whose bands have the types {', '.join(map(str, kinds))}; bring "
            "them to one with .astype"
        )
    joined = dataset[images].to_array("band")
    nodata = {dataset[name].rio.nodata for name in images} - {None}
    if len(nodata) > 1:
        raise UserError(f"{label} is a Dataset whose bands have several nodata values; give one")
    if nodata and joined.rio.nodata is None:
        joined = joined.rio.write_nodata(nodata.pop())
    return joined


def _with_crs(array: xarray.DataArray) -> xarray.DataArray:
    if array.rio.crs is not None:
        return array
    for name in _CRS_COORDINATES:
        value = array.coords[name] if name in array.coords else array.attrs.get(name)
        value = getattr(value, "values", value)
        if value is not None and np.size(value) == 1:
            try:
                return array.rio.write_crs(np.ravel(value)[0].item())
            except (rasterio.errors.CRSError, AttributeError):
                continue
    return array


def _runs(array: xarray.DataArray, name: str, label: str, falls: bool) -> bool:
    """Whether coordinates run the other way than they should.

    Raises:
        UserError: coordinates that are not evenly spaced.
    """
    if name not in array.coords or array.sizes[name] < 2:
        transform = array.rio.transform()
        step = transform.e if name == "y" else transform.a
        return not transform.is_identity and (step > 0) == falls
    values = np.asarray(array[name].values, float)
    steps = np.diff(values)
    if not np.isfinite(values).all() or np.ptp(steps) > _EVEN * abs(steps.mean()):
        raise UserError(
            f"{label}'s coordinates {name!r} are not evenly spaced; bring it to a regular grid "
            "with .rio.reproject or .interp"
        )
    return bool(steps[0] > 0) == falls
