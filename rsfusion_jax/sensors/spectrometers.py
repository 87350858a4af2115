"""Imaging spectrometers, and the cameras of data sets under the names of the data sets."""

from rsfusion_jax.sensors.bands import rgb_by_wavelength
from rsfusion_jax.sensors.record import UNKNOWN_GAIN, Sensor
from rsfusion_jax.sensors.satellites import NO_GAINS, SATELLITES


def _spectrometer(
    name: str, centres, source: str, *, unit=False, ratio=4, gains=NO_GAINS, **more
) -> Sensor:
    """Return a camera of narrow bands with these centres in nm.

    With `unit`, its data sets are stored in [0, 1].
    """
    return Sensor(
        **{
            "name": name,
            "bands": tuple(f"{centre:.0f}nm" for centre in centres),
            "rgb": rgb_by_wavelength(centres),
            "ratio": ratio,
            "bit_depth": 16,
            "mtf_ms": (UNKNOWN_GAIN,) * len(centres),
            "mtf_pan": None,
            "source": f"{source}; {gains}",
            "full_scale": 1.0 if unit else None,
            "wavelengths": tuple(float(centre) for centre in centres),
            **more,
        }
    )


def _steps(first: float, step: float, count: int) -> list[float]:
    return [first + step * index for index in range(count)]


def _spread(low: float, high: float, count: int) -> list[float]:
    """Centres of `count` bands that divide a range evenly."""
    return _steps(low + (high - low) / (2 * count), (high - low) / count, count)


_SENTINEL2 = next(sensor for sensor in SATELLITES if sensor.name == "sentinel2")

SPECTROMETERS = (
    _spectrometer(
        "prisma",
        _spread(400, 1010, 66) + _spread(1010, 2505, 156),
        "PRISMA, 5 m and 30 m, 12 bit at the instrument, products in 16 bit; 66 bands of 400-1010 "
        "nm and those of 920-2505 nm beyond, evenly spaced here: a product states its own",
        ratio=6,
        gains="gains of 0.2 for PAN and 0.3 per band: the instrument's requirements",
        mtf_pan=0.2,
        pan_range=(400, 700),
    ),
    _spectrometer(
        "enmap",
        _spread(418, 993, 91) + _spread(993, 2445, 120),
        "EnMAP, 30 m, without a PAN of its own: ratio 3 to a guide of 10 m; VNIR and SWIR bands, "
        "evenly spaced here: a product states its own; counts are reflectance x 10000",
        ratio=3,
        full_scale=10000.0,
    ),
    _spectrometer(
        "cave",
        _steps(400, 10, 31),
        "400-700 nm in steps of 10 (Yasuma et al., IEEE TIP 2010), 16 bit; the HISR files "
        "hold [0, 1]",
        unit=True,
    ),
    _spectrometer(
        "harvard",
        _steps(420, 10, 31),
        "420-720 nm in steps of 10 (Chakrabarti and Zickler, CVPR 2011); the HISR files hold "
        "[0, 1]",
        unit=True,
    ),
    _spectrometer(
        "pavia",
        _spread(430, 860, 102),
        "Pavia Center, ROSIS, 430-860 nm in 102 bands; HyperPanCollection's own loader divides "
        "by nothing (Zhuo et al., JSTARS 2022)",
        unit=True,
    ),
    _spectrometer(
        "chikusei",
        _spread(363, 1018, 128),
        "Hyperspec-VNIR-C, 363-1018 nm in 128 bands (Yokoya and Iwasaki, 2016); no full scale "
        "is published, sets in [0, 1] are expected",
        unit=True,
    ),
    Sensor(
        "sen12ms_cr",
        _SENTINEL2.bands,
        (3, 2, 1),
        1,
        12,
        (UNKNOWN_GAIN,) * 13,
        None,
        f"Sentinel-2 level 1C with Sentinel-1 VV and VH, all at 10 m (Ebel et al., IEEE TGRS "
        f"2021); reflectance x 10000; {NO_GAINS}",
        10000.0,
        _SENTINEL2.wavelengths,
        _SENTINEL2.widths,
    ),
)
