"""Statistics of synthetic scenes beside those of real images.

    python -m benchmarks.studies.scene_statistics [--data=FOLDER] [--scenes=16] [--nuisances]

Run from the clone's root. Data: the WorldView-2, IKONOS and GeoEye-1 images that
benchmarks/images.py names; `--data` is their folder. Without it the real columns stay empty.

Everything is measured on a pair at full resolution after PAN was brought to the MS grid by
antialiased bicubic. Detail is the difference from the image blurred with the sensor's MTF at
ratio 4. Tables are printed; scene_statistics.md keeps them. No file is written.
"""

import itertools
from pathlib import Path

import numpy as np
import scipy.ndimage

from benchmarks import record
from benchmarks.command_line import parser, words
from benchmarks.images import MAX_VALUES, read
from rsfusion_jax.data.synthetic import SyntheticScenes
from rsfusion_jax.ops.mtf import mtf_filter
from rsfusion_jax.ops.resample import imresize
from rsfusion_jax.sensors import get_sensor, mtf_gains


def real_pair(folder: Path, sensor: str) -> tuple[np.ndarray, np.ndarray]:
    """Read PAN (4h, 4w, 1) and MS (h, w, C) of a real image in [0, 1]."""
    pan, ms = (image.astype(np.float64) / MAX_VALUES[sensor] for image in read(folder, sensor))
    return pan, ms


def statistics(
    pan: np.ndarray, ms: np.ndarray, sensor: str, phase: float = 1.5
) -> dict[str, np.ndarray | float]:
    """Measure one pair; keys are the rows of the table, values numbers or one per band.

    `phase` is the PAN index of the centre of MS pixel 0; 1.5 for images whose corners coincide.
    """
    pan, ms = pan.astype(np.float64), ms.astype(np.float64)
    offset = (1.5 - phase, 1.5 - phase, 0)
    aligned = scipy.ndimage.shift(pan, offset, order=5, mode="nearest") if any(offset) else pan
    low = imresize(aligned, ms.shape[:2])
    gains = mtf_gains(sensor, ms.shape[-1])
    ms_detail = ms - mtf_filter(ms, gains, 4)
    pan_detail = low - mtf_filter(low, float(np.mean(gains)), 4)
    flat = ms.reshape(-1, ms.shape[-1])
    correlation = np.corrcoef(flat.T)
    spread = np.sort(np.linalg.eigvalsh(np.cov(flat.T)))[::-1]
    scaled = pan[..., 0] / pan.std()
    gradient = np.abs(np.diff(scaled, axis=1))
    return {
        "MS mean": flat.mean(axis=0),
        "MS std / mean": flat.std(axis=0) / flat.mean(axis=0),
        "PAN mean": pan.mean(),
        "PAN std / mean": pan.std() / pan.mean(),
        "R2 PAN ~ MS": _r2(low[..., 0], ms),
        "R2 PAN ~ MS, detail": _r2(pan_detail[..., 0], ms_detail),
        "corr(PAN detail, band detail)": np.array(
            [np.corrcoef(pan_detail.ravel(), band.ravel())[0, 1] for band in _bands(ms_detail)]
        ),
        "std(detail) / std(MS)": ms_detail.std(axis=(0, 1)) / ms.std(axis=(0, 1)),
        "PCA, two components": spread[:2].sum() / spread.sum(),
        "lowest band correlation": correlation.min(),
        "PAN power slope": power_slope(pan[..., 0]),
        "0.1 % level": np.quantile(flat, 0.001, axis=0),
        "99.9 % level": np.quantile(flat, 0.999, axis=0),
        "PAN gradient mean / std": gradient.mean(),
        "PAN gradient 99 % / mean": np.quantile(gradient, 0.99) / gradient.mean(),
        "edges inverted or missing in PAN": _disagreeing_edges(low[..., 0], ms),
        "saturated, %": 100 * float((ms >= 1).any(axis=-1).mean()),
    }


def power_slope(image: np.ndarray, low: float = 0.05, high: float = 0.2) -> float:
    """Fit log power per mode against log frequency between two frequencies in cycles/pixel."""
    side = min(image.shape)
    window = np.hanning(side)[:, None] * np.hanning(side)
    power = np.abs(np.fft.fft2((image[:side, :side] - image.mean()) * window)) ** 2
    frequency = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.fftfreq(side)[None])
    edges = np.geomspace(low, high, 13)
    bins = [(frequency >= a) & (frequency < b) for a, b in itertools.pairwise(edges)]
    levels = [np.log(power[inside].mean()) for inside in bins]
    return float(np.polyfit(np.log(np.sqrt(edges[:-1] * edges[1:])), levels, 1)[0])


def _disagreeing_edges(pan, ms):
    """Return the share of the strongest tenth of band gradients that PAN inverts or misses."""
    along = np.diff(pan, axis=1) / pan.std()
    shares = []
    for band in _bands(ms):
        gradient = np.diff(band, axis=1) / band.std()
        strong = np.abs(gradient) > np.quantile(np.abs(gradient), 0.9)
        shares.append(np.mean((along * np.sign(gradient))[strong] < 0.1 * np.abs(gradient)[strong]))
    return np.array(shares)


def _bands(image):
    return np.moveaxis(image, -1, 0)


def _r2(target, predictors):
    columns = predictors.reshape(-1, predictors.shape[-1])
    columns = np.column_stack([columns, np.ones(len(columns))])
    values = target.ravel()
    rest = values - columns @ np.linalg.lstsq(columns, values, rcond=None)[0]
    return 1 - (rest @ rest) / np.sum((values - values.mean()) ** 2)


def synthetic_statistics(
    sensor: str, scenes: int, nuisances: bool = False, size: int = 512
) -> list[dict]:
    """Measure `scenes` full-resolution synthetic pairs of `size` PAN pixels along a side."""
    source = SyntheticScenes(
        sensor, num_scenes=scenes, size=size, resolution="full", nuisances=nuisances
    )
    samples = (source[index] for index in range(scenes))
    return [
        statistics(sample["pan"], sample["ms"], sensor, source.info.ms_phase) for sample in samples
    ]


def _cell(value) -> str:
    return " ".join(f"{number:.3f}" for number in np.atleast_1d(value))


def main() -> None:
    """Print a table for each sensor."""
    flags = parser(__doc__)
    flags.add_argument("--data", type=Path, help="folder with the .mat files")
    flags.add_argument("--scenes", type=int, default=16)
    flags.add_argument("--nuisances", action="store_true")
    flags.add_argument("--sensors", type=words, default=["ikonos", "ge1", "wv2"])
    options = flags.parse_args()
    for sensor in options.sensors:
        drawn = synthetic_statistics(get_sensor(sensor).name, options.scenes, options.nuisances)
        real = statistics(*real_pair(options.data, sensor), sensor) if options.data else {}
        lines = []
        for row in drawn[0]:
            values = np.stack([np.atleast_1d(scene[row]) for scene in drawn])
            low, middle, high = np.quantile(values, (0.1, 0.5, 0.9), axis=0)
            limits = f"{low.min():.3f} ... {high.max():.3f}"
            lines.append([row, _cell(real[row]) if row in real else None, _cell(middle), limits])
        columns = ("statistic", "real", "synthetic median", "synthetic 10-90 %")
        print(f"\n### {sensor}, {options.scenes} scenes\n\n{record.table(columns, lines)}")


if __name__ == "__main__":
    main()
