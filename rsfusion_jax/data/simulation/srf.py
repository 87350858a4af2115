"""Spectral responses that make a guide of few channels from a hyperspectral cube.

A response is (C, G): `guide = cube @ response`, each channel of a named one of unit sum, so that
the guide keeps the cube's scale.
"""

import dataclasses
import hashlib
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from rsfusion_jax.data.responses import WAVELENGTHS, guide_responses, ms_responses
from rsfusion_jax.errors import UserError
from rsfusion_jax.sensors import Sensor, get_sensor, list_sensors

_NIKON_WAVELENGTHS = np.arange(400.0, 701.0, 10.0)
# Thousandths at those wavelengths; blue, green, red. The matrix that work on CAVE shares since
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
    """How much each band gives to each channel of a guide.

    Attributes:
        name: as asked for; of a file its name.
        weights: (C, G) float64.
        sha256: of the file; None for a named response.
    """

    name: str
    weights: np.ndarray
    sha256: str | None = None


def spectral_response(
    choice: str, num_bands: int, wavelengths: Sequence[float] | None = None
) -> SpectralResponse:
    """Reads or makes a response for a cube of `num_bands`.

    Args:
        choice: one of
            "nikon_d700": red, green and blue of a consumer camera, the field's choice on CAVE; by
                wavelength, so on Harvard's 420-720 nm not the same 31 numbers;
            "rgb", "msi4": soft-edged bands of a colour camera and of a four-band satellite;
            a sensor's name: its MS bands;
            "uniform:450-520,520-600": bands whose centre lies in an interval in nm, weighed alike;
            "gaussian:450-520,520-600": Gaussians with those limits at half maximum;
            a `.csv` or `.npy` file of C rows and G columns, taken as it is.
        num_bands: C.
        wavelengths: (C,) band centres in nm; not needed for a file.

    Raises:
        UserError: an unknown choice, wavelengths that are missing or of another number, a channel
            that sees none of the bands, or a file of another shape.
    """
    if Path(choice).suffix.lower() in (".csv", ".npy"):
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
            f"srf {choice!r}: channel {int(np.argmin(sums))} sees none of the bands from "
            f"{wavelengths[0]:g} to {wavelengths[-1]:g} nm; choose another response"
        )
    return SpectralResponse(choice, (channels / sums).T)


def band_centres(sensor: Sensor) -> list[float] | None:
    """Wavelengths in nm of a sensor whose bands are named after them, else None."""
    matches = [re.fullmatch(r"(\d+(?:\.\d+)?)nm", band) for band in sensor.bands]
    return [float(match[1]) for match in matches] if all(matches) else None


def _channels(choice: str, wavelengths: np.ndarray) -> np.ndarray:
    """(G, C) weights, not normalised."""
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
        raise UserError(f"{path} is no file; give a .csv or .npy of one row per band as srf")
    try:
        if path.suffix.lower() == ".npy":
            weights = np.load(path, allow_pickle=False)
        else:
            weights = np.loadtxt(path, delimiter=",", ndmin=2)
        weights = np.asarray(weights, np.float64)
    except (ValueError, EOFError, OSError) as error:
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
