"""What the papers say of the networks: one record each, by the name of the network's file."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Publication:
    """Where a network comes from.

    Attributes:
        venue: journal or conference; the full reference heads the network's file.
        year: year of the publication.
        tasks: what its authors used it for: "MS" and "HS" pansharpening, "HSI-MSI" fusion,
            "SAR-optical" fusion. Which ratios each network takes is in docs/networks.md.
        parameters: the authors' count, in their own terms, where it is not ours.
        why: reason for that difference.
    """

    venue: str
    year: int
    tasks: tuple[str, ...]
    parameters: str = ""
    why: str = ""


PUBLICATIONS = {
    "anysensor": Publication(
        "this package",
        2026,
        ("MS", "HS"),
        why="no publication; the network of the packaged weights",
    ),
    "bandwise": Publication("this package", 2026, ("MS",), why="no publication"),
    "cf2n": Publication(
        "Geo-spatial Information Science",
        2024,
        ("MS", "HS", "SAR-optical"),
        why="reconstruction from the paper's framework figure; its authors state no count",
    ),
    "ddif": Publication("Information Fusion", 2024, ("MS", "HSI-MSI")),
    "dicnn": Publication("IEEE JSTARS 12(4)", 2019, ("MS",)),
    "drpnn": Publication("IEEE GRSL 14(10)", 2017, ("MS",)),
    "feinfn": Publication(
        "NeurIPS",
        2024,
        ("HSI-MSI", "MS"),
        "3,164,864 (31+3 bands)",
        "48 values of the authors' file are never used",
    ),
    "fusionnet": Publication("IEEE TGRS 59(8)", 2021, ("MS",)),
    "mmapp": Publication(
        "IEEE JSTARS",
        2024,
        ("MS",),
        "951,591 in the file, 0.41 M in the paper",
        "134,970 are never used; the paper's counter skips the adaptive kernels",
    ),
    "msdcnn": Publication("IEEE JSTARS 11(3)", 2018, ("MS",)),
    "onesensor": Publication(
        "this package",
        2026,
        ("MS", "HS"),
        why="no publication; the network of `--adapt`",
    ),
    "pannet": Publication("ICCV", 2017, ("MS",)),
    "pnn": Publication("Remote Sensing 8(7)", 2016, ("MS",)),
    "ramsf": Publication("IEEE TGRS", 2025, ("MS", "HS", "HSI-MSI")),
    "rsanet": Publication(
        "IEEE JSTARS",
        2023,
        ("MS",),
        "96,827 in the file, 0.039 M in the paper",
        "23,328 are never used; the paper's counter skips the adaptive kernels",
    ),
    "u2net": Publication(
        "ACM Multimedia",
        2023,
        ("MS", "HSI-MSI"),
        "642,008",
        "105,760 of the authors' file are never used",
    ),
}

COSTS = {
    "anysensor": (76_198, 317_702_144),
    "bandwise": (13_491, 372_768_768),
    "cf2n": (808_292, 2_238_143_488),
    "ddif": (10_397_208, 4_188_859_136),
    "dicnn": (46_792, 191_102_976),
    "drpnn": (433_465, 1_774_223_360),
    "feinfn": (3_085_692, 9_219_244_032),
    "fusionnet": (78_632, 320_864_256),
    "mmapp": (816_621, 738_206_760),
    "msdcnn": (228_556, 934_969_344),
    "onesensor": (157_134, 648_003_584),
    "pannet": (83_024, 323_092_480),
    "pnn": (104_360, 667_238_400),
    "ramsf": (666_350, 1_845_362_688),
    "rsanet": (73_499, 296_988_672),
    "u2net": (536_248, 2_994_798_592),
}
"""Parameters of every network as published, and multiply-adds of one pass over a PAN image of
64 x 64 pixels, both with 8 bands, one guide band and ratio 4: what `cost.size_and_cost` counts.
Counting takes half a minute, so the results are written down; the tests count anew."""

SMALL_WIDTHS = {
    "cf2n": {"channels": 16, "n": 2},
    # Half of the published width and patch, a level less: as there, only the coarsest attends.
    "ddif": {
        "inner_channel": 16,
        "channel_mults": (1, 2, 2),
        "attn_res": (8,),
        "res_blocks": 2,
        "image_size": 32,
        "dropout": 0.0,
    },
    "feinfn": {
        "feat_dim": 32,
        "guide_dim": 32,
        "spa_edsr_num": 2,
        "spe_edsr_num": 2,
        "mlp_dim": (64, 32),
    },
    "mmapp": {"blocks": 2},
    "ramsf": {"feat_dim": 32, "guide_dim": 32, "mlp_dim": (64, 32), "nir_dim": 17},
    "rsanet": {},
    "u2net": {"dim": 16, "dim_head": 8},
}
"""Fields with which networks train in minutes on two CPU cores; ours, not the papers'."""
