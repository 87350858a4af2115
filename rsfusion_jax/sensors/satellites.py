"""The satellites of the registry: their cameras' bands and gains, with the source of each number.

Centres and widths of bands are those of the nominal edges that the operators publish.
"""

from rsfusion_jax.sensors.record import UNKNOWN_GAIN, Sensor

_EIGHT_BANDS = ("coastal", "blue", "green", "yellow", "red", "red_edge", "nir1", "nir2")
_FOUR_BANDS = ("blue", "green", "red", "nir")
_WORLDVIEW_EDGES = (
    (400, 450),
    (450, 510),
    (510, 580),
    (585, 625),
    (630, 690),
    (705, 745),
    (770, 895),
    (860, 1040),
)
_GEOEYE_EDGES = ((450, 510), (510, 580), (655, 690), (780, 920))
_TOOLBOX = "gains of the MATLAB pansharpening toolbox (Vivone et al., IEEE GRSM 2021)"
NO_GAINS = "no published gains: the toolbox's fallback of 0.3 per band"


def _camera(name, bands, edges, gains, source, *, pan, ratio=4, bits=11, pan_gain=None, **more):
    """Return the record of a camera whose bands have nominal edges (low, high) in nm."""
    centres = tuple((low + high) / 2 for low, high in edges)
    colours = [bands.index(name) if name in bands else 0 for name in ("red", "green", "blue")]
    return Sensor(
        **{
            "name": name,
            "bands": bands,
            "rgb": tuple(colours),
            "ratio": ratio,
            "bit_depth": bits,
            "mtf_ms": gains or (UNKNOWN_GAIN,) * len(bands),
            "mtf_pan": pan_gain,
            "source": source,
            "wavelengths": centres,
            "widths": tuple(float(high - low) for low, high in edges),
            "pan_range": pan,
            **more,
        }
    )


_SENTINEL2 = {
    # Centre and width in nm as GDAL's driver SENTINEL2 states them, and the gain.
    "B1": (443, 20, 0.3175),
    "B2": (490, 65, 0.275),
    "B3": (560, 35, 0.28),
    "B4": (665, 30, 0.25),
    "B5": (705, 15, 0.365),
    "B6": (740, 15, 0.33),
    "B7": (783, 20, 0.34),
    "B8": (842, 115, 0.24),
    "B8A": (865, 20, 0.32),
    "B9": (945, 20, 0.295),
    "B10": (1375, 30, UNKNOWN_GAIN),
    "B11": (1610, 90, 0.205),
    "B12": (2190, 180, 0.235),
}
_SENTINEL2_SOURCE = (
    "Sentinel-2 MSI, {}; gains of the Sentinel2-SR-Toolbox, B10 {}; counts are reflectance x 10000"
)


def _sentinel2(name: str, bands: tuple[str, ...], rgb, ratio: int, what: str) -> Sensor:
    centres, widths, gains = zip(*(_SENTINEL2[band] for band in bands), strict=True)
    return Sensor(
        name=name,
        bands=bands,
        rgb=rgb,
        ratio=ratio,
        bit_depth=16,
        mtf_ms=gains,
        mtf_pan=None,
        source=_SENTINEL2_SOURCE.format(what, "by the fallback of 0.3"),
        full_scale=10000.0,
        wavelengths=tuple(map(float, centres)),
        widths=tuple(map(float, widths)),
    )


SATELLITES = (
    _camera(
        "wv2",
        _EIGHT_BANDS,
        _WORLDVIEW_EDGES,
        (0.35,) * 7 + (0.27,),
        _TOOLBOX,
        pan=(450, 800),
        pan_gain=0.11,
    ),
    _camera(
        "wv3",
        _EIGHT_BANDS,
        _WORLDVIEW_EDGES,
        (0.325, 0.355, 0.36, 0.35, 0.365, 0.36, 0.335, 0.315),
        _TOOLBOX,
        pan=(450, 800),
        pan_gain=0.14,
    ),
    _camera(
        "wv4", _FOUR_BANDS, _GEOEYE_EDGES, (0.23,) * 4, _TOOLBOX, pan=(450, 800), pan_gain=0.16
    ),
    _camera(
        "qb",
        _FOUR_BANDS,
        ((450, 520), (520, 600), (630, 690), (760, 900)),
        (0.34, 0.32, 0.30, 0.22),
        _TOOLBOX,
        pan=(450, 900),
        pan_gain=0.15,
    ),
    _camera(
        "ikonos",
        _FOUR_BANDS,
        ((445, 516), (506, 595), (632, 698), (757, 853)),
        (0.26, 0.28, 0.29, 0.28),
        _TOOLBOX,
        pan=(526, 929),
        pan_gain=0.17,
    ),
    _camera(
        "ge1", _FOUR_BANDS, _GEOEYE_EDGES, (0.23,) * 4, _TOOLBOX, pan=(450, 800), pan_gain=0.16
    ),
    _camera(
        "gf2",
        _FOUR_BANDS,
        ((450, 520), (520, 590), (630, 690), (770, 890)),
        None,
        f"{NO_GAINS}; papers scored GF2 with mtf='ikonos'",
        pan=(450, 900),
        bits=10,
    ),
    _camera(
        "gf1",
        _FOUR_BANDS,
        ((450, 520), (520, 590), (630, 690), (770, 890)),
        None,
        "GF-1 PMS, 2 m and 8 m, bands by table 1 of Peng and Zhang, Remote Sensing for Land and "
        f"Resources 31(4), 2019, 10 bit; {NO_GAINS}",
        pan=(450, 900),
        bits=10,
    ),
    _camera(
        "gf7",
        _FOUR_BANDS,
        ((450, 520), (520, 590), (630, 690), (770, 890)),
        None,
        "GF-7 backward camera, 0.65 m and 2.6 m, bands and 11 bit as commonly quoted, not checked "
        f"against a document; {NO_GAINS}",
        pan=(450, 900),
    ),
    _camera(
        "wv_legion",
        ("coastal", "blue", "green", "yellow", "red", "red_edge1", "red_edge2", "nir1"),
        (
            (400, 450),
            (450, 510),
            (510, 580),
            (585, 625),
            (630, 690),
            (695, 715),
            (730, 750),
            (780, 920),
        ),
        None,
        "WorldView Legion, bands by CATALYST's reference of Maxar-Legion (its coastal band's upper "
        f"edge, 500, taken as 450), 11 bit as commonly quoted, not checked; {NO_GAINS}",
        pan=(450, 800),
    ),
    _camera(
        "pleiades",
        _FOUR_BANDS,
        ((430, 550), (500, 620), (590, 710), (740, 940)),
        None,
        "Pleiades 1A and 1B, bands and 12 bit by Airbus' user guide; PAN's gain of the restored "
        f"product (0.09 at the instrument; ISPRS Istanbul 2004); MS: {NO_GAINS}",
        pan=(470, 830),
        bits=12,
        pan_gain=0.2,
    ),
    _camera(
        "pleiades_neo",
        ("deep_blue", "blue", "green", "red", "red_edge", "nir"),
        ((400, 450), (450, 520), (530, 590), (620, 690), (700, 750), (770, 880)),
        None,
        f"Pleiades Neo, bands and 12 bit by Airbus' user guide; {NO_GAINS}",
        pan=(450, 800),
        bits=12,
    ),
    _camera(
        "spot",
        _FOUR_BANDS,
        ((450, 520), (530, 590), (625, 695), (760, 890)),
        None,
        f"SPOT-6 and SPOT-7, 1.5 m and 6 m, bands and 12 bit by DINAMIS; {NO_GAINS}",
        pan=(450, 745),
        bits=12,
    ),
    _camera(
        "kompsat3",
        _FOUR_BANDS,
        ((450, 520), (520, 600), (630, 690), (760, 900)),
        None,
        f"KOMPSAT-3 and KOMPSAT-3A, bands and 14 bit by KARI; {NO_GAINS}",
        pan=(450, 900),
        bits=14,
    ),
    _camera(
        "skysat",
        _FOUR_BANDS,
        ((450, 515), (515, 595), (605, 695), (740, 900)),
        None,
        "SkySat, bands by Planet, counts in 16 bit; orthorectified PAN and MS have pixels of one "
        f"size; {NO_GAINS}",
        pan=(450, 900),
        bits=16,
        ratio=1,
    ),
    _camera(
        "landsat_oli",
        ("coastal", "blue", "green", "red", "nir", "swir1", "swir2"),
        (
            (430, 450),
            (450, 510),
            (530, 590),
            (640, 670),
            (850, 880),
            (1570, 1650),
            (2110, 2290),
        ),
        None,
        "Landsat 8 and 9 OLI, B1 to B7 by B8, bands by USGS; 12 and 14 bit at the instrument, "
        f"delivered as 16-bit counts; {NO_GAINS}",
        pan=(500, 680),
        bits=16,
        ratio=2,
    ),
    _sentinel2("sentinel2", tuple(_SENTINEL2), (3, 2, 1), 2, "B2 B3 B4 B8 at 10 m, the rest of 20"),
    _sentinel2(
        "sentinel2_20m",
        ("B5", "B6", "B7", "B8A", "B11", "B12"),
        (5, 3, 0),
        2,
        "bands of 20 m by those of 10 m",
    ),
    _sentinel2("sentinel2_60m", ("B1", "B9"), (1, 1, 0), 6, "bands of 60 m by those of 10 m"),
)
