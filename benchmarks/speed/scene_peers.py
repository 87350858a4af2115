"""Whole scenes beside GDAL's and Orfeo ToolBox's pansharpening: wall and CPU seconds, peak memory.

    python -m benchmarks.speed.scene_peers [--sides=4096,12000] [--rounds=3] [--contenders=...]

Run from the clone's root. Data: none, a pair is drawn: a textured square of 1024 PAN pixels side by
side, MS of four bands at ratio 4, uint16, both files tiled and compressed. On Debian and Ubuntu
`apt-get install gdal-bin python3-gdal otb-bin` installs the peers, `gdal_pansharpen.py` and
`otbcli_BundleToPerfectSensor`; those that are missing are left out.

Every contender is a process of its own, start-up included, and writes a GeoTIFF of the same kind:
tiles of 256 pixels, deflate with predictor 2, all threads. "rsfusion" without "default" leaves out
what the peers do not do either: overviews, the residual shift and R-ERGAS (--no-overviews,
--shift none, --samples 0). GDAL fuses by the weighted Brovey transform, whose peer is
`weighted_brovey`; Orfeo's RCS divides PAN by its own low-pass.

Contenders run in turns; the least seconds of all rounds count, for wall and CPU each. Rows go to
benchmarks/results/scene_peers.json; the table of all rows is printed.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import rasterio
from rasterio.windows import Window
from scipy.ndimage import gaussian_filter

from benchmarks import record
from benchmarks.command_line import numbers, parser, words

RATIO, BANDS, SQUARE = 4, 4, 1024
CREATION = {"TILED": "YES", "COMPRESS": "DEFLATE", "PREDICTOR": "2", "NUM_THREADS": "ALL_CPUS"}
METHODS = ("weighted_brovey", "gsa", "bdsd_pc")
PLAIN = ("--no-overviews", "--shift=none", "--samples=0")
CONTENDERS = (
    "GDAL",
    "OTB RCS",
    *(f"rsfusion {method}" for method in METHODS),
    "rsfusion weighted_brovey default",
)
COLUMNS = ("PAN pixels", "contender", "wall, s", "CPU, s", "peak memory, GiB")


def draw_pair(folder: Path, side: int) -> tuple[Path, Path]:
    """Write PAN and MS strip by strip, so that this process stays small."""
    random = np.random.default_rng(0)
    bands = random.standard_normal((SQUARE, SQUARE, BANDS))
    bands = gaussian_filter(bands, (4, 4, 0), mode="wrap")
    bands = 800 + 200 * bands / bands.std()
    pan = bands.mean(axis=-1, keepdims=True) + 20 * random.standard_normal((SQUARE, SQUARE, 1))
    low = SQUARE // RATIO
    ms = bands.reshape(low, RATIO, low, RATIO, BANDS).mean(axis=(1, 3))
    paths = folder / "pan.tif", folder / "ms.tif"
    for path, square, step in zip(paths, (pan, ms), (1, RATIO), strict=True):
        _repeat(path, square.clip(1, 2047).astype(np.uint16), side // step, 0.5 * step)
    return paths


def _repeat(path: Path, square: np.ndarray, side: int, metres: float) -> None:
    transform = rasterio.Affine(metres, 0, 4e5, 0, -metres, 4.2e6)
    profile = {"driver": "GTiff", "dtype": square.dtype, "crs": "EPSG:32642"}
    profile |= {"width": side, "height": side, "count": square.shape[-1], "transform": transform}
    profile |= {"photometric": "MINISBLACK"} | CREATION
    planes = np.moveaxis(square, -1, 0)
    planes = np.tile(planes, (1, 1, -(-side // planes.shape[2])))[:, :, :side]
    with rasterio.open(path, "w", **profile) as file:
        for top in range(0, side, planes.shape[1]):
            rows = min(planes.shape[1], side - top)
            file.write(planes[:, :rows], window=Window(0, top, side, rows))


def command(contender: str, pan: Path, ms: Path, out: Path) -> list[str] | None:
    """Return what is run; None where a peer is not installed."""
    if contender == "GDAL":
        options = [word for item in CREATION.items() for word in ("-co", "=".join(item))]
        words = ["gdal_pansharpen.py", "-q", "-threads", "ALL_CPUS", *options, pan, ms, out]
    elif contender == "OTB RCS":
        options = "".join(f"&gdal:co:{name}={value}" for name, value in CREATION.items())
        words = ["otbcli_BundleToPerfectSensor", "-inp", pan, "-inxs", ms, "-method", "rcs"]
        words += ["-out", f"{out}?{options}", "uint16"]
    else:
        _, method, *default = contender.split()
        words = [sys.executable, "-m", "rsfusion_jax.cli.main", "fuse", pan, ms, out]
        words += ["--method", method, "--sensor", "qb", "--quiet", *([] if default else PLAIN)]
    return [str(word) for word in words] if shutil.which(str(words[0])) else None


def timed(arguments: list[str]) -> dict:
    """Run a process and return its wall and CPU seconds and its largest resident set in GiB."""
    begin = time.perf_counter()
    with tempfile.TemporaryFile("w+") as log:
        child = subprocess.Popen(arguments, stdout=log, stderr=log)
        _, status, usage = os.wait4(child.pid, 0)  # unlike wait, with the child's own usage
        seconds = time.perf_counter() - begin
        if status:
            log.seek(0)
            raise SystemExit(f"{' '.join(arguments)} failed: {log.read()}")
    cpu = usage.ru_utime + usage.ru_stime
    return {"wall": seconds, "cpu": cpu, "peak_gb": usage.ru_maxrss / 2**20}


def measure(side: int, contenders: list[str], rounds: int) -> list[dict]:
    """Measure all contenders on one pair, in turns."""
    runs: dict[str, list[dict]] = {}
    with tempfile.TemporaryDirectory() as folder:
        pair, out = draw_pair(Path(folder), side), Path(folder, "out.tif")
        for _ in range(rounds):
            for contender in contenders:
                arguments = command(contender, *pair, out)
                if arguments is not None:
                    runs.setdefault(contender, []).append(timed(arguments))
                    out.unlink()
    return [
        {
            "side": side,
            "contender": contender,
            "rounds": rounds,
            **{name: round(min(run[name] for run in of), 2) for name in ("wall", "cpu", "peak_gb")},
            "load": round(os.getloadavg()[0], 1),
        }
        for contender, of in runs.items()
    ]


def table(rows: list[dict]) -> str:
    """Format the rows as Markdown."""
    lines = [
        [row[name] for name in ("side", "contender", "wall", "cpu", "peak_gb")] for row in rows
    ]
    return record.table(COLUMNS, lines)


def main() -> None:
    """Measure and print the table."""
    flags = parser(__doc__, "scene_peers.json")
    flags.add_argument("--sides", type=numbers, default=[4096, 12000])
    flags.add_argument("--rounds", type=int, default=3)
    flags.add_argument("--contenders", type=words, default=list(CONTENDERS))
    options = flags.parse_args()
    rows = record.read(options.out)
    for side in options.sides:
        measured = measure(side, options.contenders, options.rounds)
        rows = record.merge(options.out, measured, ("side", "contender"))
    print(table(rows))


if __name__ == "__main__":
    main()
