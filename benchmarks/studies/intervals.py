"""Do error intervals hold: coverage, width and ranking on three real images.

    python -m benchmarks.studies.intervals --data=FOLDER

Run from the clone's root. Data: the WorldView-2, IKONOS and GeoEye-1 images that
benchmarks/images.py names; `--data` is their folder.

Intervals of 90 % for the packaged weights, GSA and a network adapted to the image itself. Two
questions, never mixed:
- held_out: the image is degraded once; intervals are calibrated on its border of 64 MS pixels and
  judged on the square of 128 in the middle, 32 pixels away from it. The adapted network is trained
  on the four sides of the border and calibrated on its four corners, 32 pixels away from them as
  the middle is.
- deployment: the degraded image is all that is delivered; intervals are calibrated on it (degraded
  once more) and judged against the original MS, everywhere. The adapted network is trained on its
  left half and calibrated on the rest. `pair` says how the image was degraded: "sensor" by the
  sensor's nominal MTF and PAN by bicubic reduction, "measured" by the gain that is measured on the
  image, PAN likewise, so that the delivered pair is related as the original one is.

Rows go to benchmarks/results/intervals.json. `rank` is Spearman's correlation of half widths with
|error|; `width` is the mean half width as a share of that of a constant interval with the same
coverage. Both are given per band (mean over bands) and for all bands together.
"""

import matplotlib.pyplot as plt
import numpy as np
import scipy.stats

import rsfusion_jax as rsf
from benchmarks import record
from benchmarks.command_line import parser, words
from benchmarks.images import CENTRE, MAX_VALUES, NAMES, RATIO, add_flags, read
from rsfusion_jax import classical
from rsfusion_jax.classical.registry import method_setting
from rsfusion_jax.cli.entry import use_compilation_cache
from rsfusion_jax.scenes.degraded.calibrate import Calibrator
from rsfusion_jax.scenes.degraded.camera import scene_camera
from rsfusion_jax.scenes.pair.in_memory import array_scene
from rsfusion_jax.scenes.work.engines import classical_spec
from rsfusion_jax.scenes.work.half_width import half_width
from rsfusion_jax.scenes.work.program import network_spec

LEVEL = 90
METHODS = "default", "gsa", "adapted"
KEYS = "question", "pair", "image", "method"
BORDER, APART = 64, 32
PHASE = (RATIO - 1) / 2  # the images' corners coincide
THINNED = 3  # pixels of which one is ranked, along each axis


def judged(error: np.ndarray, widths: np.ndarray) -> dict:
    """Coverage, width and ranking of half widths (H, W, C) beside |error|."""
    bands = range(error.shape[-1])
    inside = [float((error[..., b] <= widths[..., b]).mean()) for b in bands]
    constant = [np.quantile(error[..., b], inside[b]) for b in bands]
    share = float((error <= widths).mean())
    thin = np.s_[1::THINNED, 1::THINNED]
    return {
        "coverage": share,
        "coverage_of_bands": [round(value, 4) for value in inside],
        "width": float(np.mean([widths[..., b].mean() / constant[b] for b in bands])),
        "width_all": float(widths.mean() / np.quantile(error, share)),
        "rank": float(np.mean([_rank(error[thin][..., b], widths[thin][..., b]) for b in bands])),
        "rank_all": _rank(error[thin], widths[thin]),
        "mean_error": float(error.mean()),
        "mean_half_width": float(widths.mean()),
    }


def _rank(error, widths) -> float:
    return float(scipy.stats.spearmanr(error.ravel(), widths.ravel())[0])


def held_out(pan, ms, image: str, method: str) -> dict:
    """Calibrate on the image's border, judge in its middle."""
    height, width, bands = ms.shape
    rows, columns = (np.minimum(np.arange(n), n - 1 - np.arange(n)) for n in (height, width))
    edge = np.minimum(rows[:, None], columns)
    corner = np.maximum(rows[:, None], columns)
    calibrates = edge < BORDER
    fuser, name = None, None
    if method == "adapted":
        trains = calibrates & (corner >= BORDER + APART)
        how = {"sensor": image, "ms_phase": PHASE, "held_out": False, "quiet": True}
        fuser = rsf.adapt(pan, ms, valid=trains, max_value=MAX_VALUES[image], **how)
        calibrates &= corner < BORDER
    elif method == "default":
        fuser = rsf.load_default(bands, max_value=MAX_VALUES[image])
    else:
        name = method
    scene, _ = array_scene(pan, ms, PHASE, calibrates)
    camera, _ = scene_camera(scene, RATIO, image, None)
    setting = None if fuser else method_setting(name, image, RATIO, bands)
    spec = network_spec(fuser) if fuser else classical_spec(name, setting, bands)
    scales = (MAX_VALUES[image],) * 2
    calibration = Calibrator(camera, scales, spec, setting, fuser, LEVEL, 2**31).on_scene(scene)
    sample = rsf.data.simulate(pan, ms, sensor=camera, pan_degradation="as_ms")
    fused = _fused(fuser, name, sample, image)
    images = (sample["pan"], sample["lms"], fused)
    images = (np.asarray(one, np.float32)[None] for one in images)
    widths = np.asarray(half_width(*images, RATIO, calibration.widths))[0]
    middle = CENTRE, CENTRE
    return _row(np.abs(fused - sample["gt"])[middle], widths[middle], calibration)


def deployment(pan, ms, image: str, method: str, pair: str) -> dict:
    """Calibrate on the degraded image alone, judge against the original MS."""
    if pair == "sensor":
        sample = rsf.data.simulate(pan, ms, sensor=image)
        sensor = image
    else:
        sensor, _ = scene_camera(array_scene(pan, ms, PHASE)[0], RATIO, None, None)
        sample = rsf.data.simulate(pan, ms, sensor=sensor, pan_degradation="as_ms")
    pair, valid, fuser, name = (sample["pan"], sample["ms"]), None, None, None
    size = sample["ms"].shape[:2]
    if method == "adapted":
        left = np.broadcast_to(np.arange(size[1]) < size[1] // 2, size)
        how = {"sensor": sensor, "held_out": False, "quiet": True}
        fuser = rsf.adapt(*pair, valid=left, max_value=MAX_VALUES[image], **how)
        valid = ~left
    elif method == "default":
        fuser = rsf.load_default(ms.shape[-1], max_value=MAX_VALUES[image])
    else:
        name = method
    found = rsf.interval(
        *pair, fuser=fuser, method=name, level=LEVEL, sensor=sensor, valid=valid, memory="4GB"
    )
    return _row(np.abs(found.fused - sample["gt"]), found.half_width, found.calibration)


def draw(path, pan, ms, image: str) -> None:
    """Draw a part of the fused image, the half widths of its last band and the true |error|."""
    sample = rsf.data.simulate(pan, ms, sensor=image)
    found = rsf.interval(sample["pan"], sample["ms"], method="gsa", level=LEVEL, sensor=image)
    part = CENTRE, CENTRE
    error = np.abs(found.fused - sample["gt"])[part][..., -1]
    widths = found.half_width[part][..., -1]
    shown = found.fused[part][..., [2, 1, 0]]
    low, high = np.quantile(shown, (0.01, 0.99))
    top = np.quantile(widths, 0.99)
    figure, axes = plt.subplots(1, 3, figsize=(9, 3.2), layout="constrained")
    axes[0].imshow(np.clip((shown - low) / (high - low), 0, 1))
    for axis, values in zip(axes[1:], (widths, error), strict=True):
        mapped = axis.imshow(values, vmin=0, vmax=top, cmap="magma")
    figure.colorbar(mapped, ax=axes[1:], shrink=0.8, label="counts")
    titles = "fused", f"half width of {LEVEL} %", "true |error|"
    for axis, title in zip(axes, titles, strict=True):
        axis.set(xticks=[], yticks=[], title=title)
    figure.savefig(path, dpi=80)


def _fused(fuser, name, sample, image: str) -> np.ndarray:
    images = sample["pan"], sample["ms"]
    if fuser is None:
        return classical.fuse(name, *images, sensor=image, lms=sample["lms"])
    return fuser(*images, sample["lms"])


def _row(error, widths, calibration) -> dict:
    known = {"pixels": calibration.pixels, "held_from_below": calibration.from_below}
    return {**judged(error, widths), **known}


def print_table(rows: list[dict]) -> None:
    """Print all rows, one line each."""
    columns = "question", "pair", "image", "method", "coverage", "of bands", "width", "rank"
    lines = [
        [row["question"], row["pair"], NAMES[row["image"]], row["method"]]
        + [f"{row['coverage']:.3f}"]
        + ["{:.2f}-{:.2f}".format(*(f(row["coverage_of_bands"]) for f in (min, max)))]
        + [f"{row[name]:.2f} ({row[name + '_all']:.2f})" for name in ("width", "rank")]
        for row in rows
    ]
    print(record.table(columns, lines))


def main() -> None:
    """Measure the chosen rows and print the table."""
    flags = parser(__doc__, "intervals.json")
    add_flags(flags)
    flags.add_argument("--methods", type=words, default=list(METHODS))
    flags.add_argument("--questions", type=words, default=["held_out", "sensor", "measured"])
    flags.add_argument("--picture", help="only draw the first image's intervals into this PNG")
    options = flags.parse_args()
    use_compilation_cache()
    if options.picture:
        image = options.images[0]
        draw(options.picture, *read(options.data, image), image)
        return
    for method in options.methods:
        for image in options.images:
            arrays = read(options.data, image)
            for question in options.questions:
                if question == "held_out":
                    key = {"question": question, "pair": "image"}
                    row = held_out(*arrays, image, method)
                else:
                    key = {"question": "deployment", "pair": question}
                    row = deployment(*arrays, image, method, question)
                row = {**key, "image": image, "method": method, **row}
                print(row, flush=True)
                record.merge(options.out, [row], KEYS)
    print_table(record.read(options.out))


if __name__ == "__main__":
    main()
