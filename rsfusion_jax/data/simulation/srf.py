"""Spectral responses that compute a guide of few channels from a hyperspectral cube.

A response is a matrix (C, G) with `guide = cube @ response`. The columns of named responses have
unit sum, so that the guide has the scale of the cube.
"""

import dataclasses
import hashlib
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from rsfusion_jax.data.responses import WAVELENGTHS, guide_responses, ms_responses
from rsfusion_jax.data.stored.npyfile import read_npy
from rsfusion_jax.errors import UserError, not_a_file
from rsfusion_jax.sensors import Sensor, get_sensor, list_sensors

_NIKON_WAVELENGTHS = np.arange(400.0, 701.0, 10.0)
# Thousandths at these wavelengths for blue, green and red. Papers on CAVE use this matrix since
# Akhtar, Shafait, Mian, "Sparse spatio-spectral representation for hyperspectral image
# super-resolution", ECCV 2014.
_NIKON_D700 = (
    (5, 7, 12, 15, 23, 25, 30, 26, 24, 19, 10, 4, *(0,) * 19),
    (*(0,) * 5, 1, 2, 3, 5, 7, 12, 13, 15, 16, 17, 20, 13, 11, 9, 5, *(1,) * 8, 2, 2, 3),
    (*(0,) * 16, 1, 3, 10, 12, 13, 22, 20, 20, 18, 17, 16, 16, 14, 14, 13),
)
_GUIDES = ("rgb", "msi4")


@dataclasses.dataclass(frozen=True)
class SpectralResponse:
    """Weights of the bands of a cube in each channel of a guide.

    Attributes:
        name: name of the response, or of the file.
        weights: (C, G) float64.
        sha256: hash of the file; None for a named response.
    """

    name: str
    weights: np.ndarray
    sha256: str | None = None


def spectral_response(
    choice: str, num_bands: int, wavelengths: Sequence[float] | None = None
) -> SpectralResponse:
    """Return the spectral response of a guide for a cube of `num_bands` bands.

    Args:
        choice: one of
            "nikon_d700": red, green and blue of a consumer camera, commonly used on CAVE; it is
                interpolated by wavelength, so the weights differ on Harvard's 420-720 nm;
            "rgb", "msi4": soft-edged bands of a colour camera and of a four-band satellite;
            name of a sensor: its MS bands;
            "uniform:450-520,520-600": equal weights for the bands whose centres lie in each
                interval in nm;
            "gaussian:450-520,520-600": Gaussians that fall to half maximum at these limits;
            path of a `.csv` or `.npy` file of C rows and G columns, which is not normalised.
        num_bands: C, number of bands of the cube.
        wavelengths: (C,) band centres in nm; not needed for a file.

    Raises:
        UserError: an unknown choice, missing wavelengths or a wrong number of them, a channel that
            covers none of the bands, or a file of another shape.
    """
    if is_file_of_weights(choice):
        return _from_file(Path(choice), num_bands)
    if wavelengths is None:
        raise UserError(
            f"srf {choice!r} is defined by wavelength and those of the {num_bands} bands are "
            "unknown; give --wavelengths=FIRST:LAST in nm or a file of weights"
        )
    wavelengths = np.asarray(wavelengths, np.float64)
    if wavelengths.shape != (num_bands,):
        raise UserError(
            f"{wavelengths.size} wavelengths are given for {num_bands} bands; give one per band"
        )
    channels = _channels(choice, wavelengths)
    sums = channels.sum(axis=1, keepdims=True)
    if not np.all(sums > 0):
        raise UserError(
            f"srf {choice!r}: channel {int(np.argmin(sums))} covers none of the bands from "
            f"{wavelengths[0]:g} to {wavelengths[-1]:g} nm; choose another response"
        )
    return SpectralResponse(choice, (channels / sums).T)


def is_file_of_weights(choice: str | None) -> bool:
    """Tell whether a response is the path of a file, which needs no wavelengths."""
    return choice is not None and Path(choice).suffix.lower() in (".csv", ".npy")


def band_centres(sensor: Sensor) -> list[float] | None:
    """Return the band centres in nm of a sensor whose bands have names like "450nm", else None."""
    matches = [re.fullmatch(r"(\d+(?:\.\d+)?)nm", band) for band in sensor.bands]
    return [float(match[1]) for match in matches] if all(matches) else None


def _channels(choice: str, wavelengths: np.ndarray) -> np.ndarray:
    """Return the weights of a named response, (G, C), not normalised."""
    shape, _, limits = choice.partition(":")
    if shape in ("uniform", "gaussian") and limits:
        low, high = np.array(_intervals(choice, limits)).T[:, :, None]
        if shape == "uniform":
            return ((wavelengths >= low) & (wavelengths <= high)).astype(np.float64)
        return np.exp(-4 * np.log(2) * ((wavelengths - (low + high) / 2) / (high - low)) ** 2)
    if choice == "nikon_d700":
        grid, rows = _NIKON_WAVELENGTHS, np.array(_NIKON_D700[::-1], np.float64)
    elif choice in (*_GUIDES, *list_sensors()):
        grid, rows = _of_sensor(choice)
    else:
        raise UserError(
            f"srf {choice!r} is unknown; choose nikon_d700, {', '.join(_GUIDES)}, a sensor, "
            "uniform:LOW-HIGH,... or gaussian:LOW-HIGH,... in nm, or a .csv or .npy file"
        )
    return np.stack([np.interp(wavelengths, grid, row, left=0, right=0) for row in rows])


def _of_sensor(choice: str):
    if choice in _GUIDES:
        return WAVELENGTHS, guide_responses(choice, get_sensor("wv3"), hyperspectral=True)
    return WAVELENGTHS, ms_responses(get_sensor(choice))


def _intervals(choice: str, limits: str) -> list[tuple[float, float]]:
    try:
        pairs = [tuple(float(edge) for edge in part.split("-")) for part in limits.split(",")]
        if all(low < high for low, high in pairs):
            return pairs
    except ValueError:
        pass
    raise UserError(f"srf {choice!r} holds no intervals such as 450-520,520-600 in nm; write those")


def _from_file(path: Path, num_bands: int) -> SpectralResponse:
    if not path.is_file():
        raise UserError(f"{not_a_file(path)}; give a .csv or .npy of one row per band as srf")
    try:
        if path.suffix.lower() == ".npy":
            weights = read_npy(path)
        else:
            weights = np.loadtxt(path, delimiter=",", ndmin=2)
        weights = np.asarray(weights, np.float64)
    except (ValueError, OSError) as error:
        raise UserError(
            f"{path} cannot be read ({' '.join(str(error).split())}); expected numbers alone, one "
            "row per band and one column per channel"
        ) from error
    if weights.ndim != 2 or weights.shape[0] != num_bands or not np.isfinite(weights).all():
        raise UserError(
            f"{path} holds an array of shape {weights.shape}, expected {num_bands} rows, one per "
            "band, of finite numbers; transpose or cut it"
        )
    return SpectralResponse(path.name, weights, hashlib.sha256(path.read_bytes()).hexdigest())
