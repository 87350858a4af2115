"""The pictures of docs/explain.md: details, blocks, influence and attention of seven networks.

    python -m benchmarks.studies.explain_pictures --out=docs/images

Run from the clone's root. Data: none, scenes are built in.

Trains the reduced-width networks of configs/small.py for a few hundred steps each on twelve
built-in scenes, and draws one test scene with the functions that `rsfusion explain` calls. A
finished run is not trained again.
"""

import time
from pathlib import Path

import jax.numpy as jnp
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from benchmarks.command_line import parser, words
from configs import small
from rsfusion_jax import classical
from rsfusion_jax.data.synthetic import SyntheticScenes
from rsfusion_jax.errors import UserError
from rsfusion_jax.evaluation.explain_pictures import (
    draw_attention,
    draw_blocks,
    draw_details,
    draw_influence,
)
from rsfusion_jax.evaluation.methods import classical_method
from rsfusion_jax.evaluation.panels import as_array
from rsfusion_jax.inference.fuser import Fuser
from rsfusion_jax.inference.intermediates import feature_maps
from rsfusion_jax.inference.load import load
from rsfusion_jax.training.loop import train

STEPS = {
    "cf2n": 150,
    "ramsf": 300,
    "mmapp": 300,
    "rsanet": 150,
    "feinfn": 150,
    "u2net": 400,
    "ddif": 200,
}
"""Steps of training: more where a step is quick, or where MS is enlarged by the network itself."""
BLOCKS = {
    "ramsf": ("DE_PAN", "imnet_64"),
    "mmapp": ("ms_branch, image 2", "unit2_2"),
    "rsanet": ("head", "block3"),
    "feinfn": ("fourier_unit", "spatial_query"),
    "u2net": ("s2block0", "s2block4"),
    "ddif": ("downs_2", "final_conv"),
}
CF2N_BLOCKS = ("rb_pan", "rb_ms", "fd2r", "fscfm1", "fscfm2", "detail")
SCENE, SIZE = 7, 64
PIXEL = 30, 49  # an edge of a red roof
COLOURS = 96  # of a picture's palette


def run_config(network: str):
    """Return the config of a network's run: few steps, on few scenes."""
    config = small.get_config(network)
    config.data.update(valid="", test="", crops_per_sample=4)
    config.data.synthetic.train_scenes = 12
    config.train.update(steps=STEPS[network], batch_size=4, log_every=50, trackers=())
    return config


def best_formula(source, sample: dict, images) -> tuple[str, np.ndarray]:
    """Return label and fused image of the classical method with the smallest RMSE."""
    fused = {}
    for name in classical.list_methods():
        if name != "exp":
            method = classical_method(name, source.info)
            try:
                fused[method.label] = np.asarray(method.fuse(*images))[0]
            except UserError:  # not defined for these bands or this ratio
                continue
    label = min(fused, key=lambda label: np.square(fused[label] - sample["gt"]).mean())
    return label, fused[label]


def maps_of(fuser: Fuser, images, blocks) -> dict[str, np.ndarray]:
    """Return what blocks of a network compute for one image, (h, w, c) each."""
    maps = feature_maps(
        fuser.model, fuser.variables, *images, blocks=tuple(blocks), diffusion=fuser.diffusion
    )
    return {block: np.asarray(maps[block])[0] for block in blocks}


def draw_shares(fuser: Fuser, images) -> Figure:
    """Draw the weight of PAN's subbands beside those of MS in CF2N's FD2R, averaged over channels.

    The weights of PAN and MS are a softmax over two logits, see `models.cf2n.AWF`.
    """
    subbands = ("ll", "hl", "lh", "hh")
    maps = maps_of(fuser, images, [f"fd2r/awf_{name}/weights1" for name in subbands])
    figure = Figure(figsize=(9.4, 2.5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, len(subbands))
    for axis, name, logits in zip(axes, subbands, maps.values(), strict=True):
        of_pan, of_ms = np.split(logits, 2, axis=-1)
        share = (1 / (1 + np.exp(of_ms - of_pan))).mean(-1)
        drawn = axis.imshow(share, cmap="RdBu_r", vmin=0.4, vmax=0.6, interpolation="nearest")
        axis.set_title(f"{name.upper()}, mean {share.mean():.2f}", fontsize=9)
        axis.set_axis_off()
    figure.colorbar(drawn, ax=axes, shrink=0.8, label="weight of PAN")
    return figure


def save(figure: Figure, path: Path) -> None:
    """Write a figure as a small PNG: with a palette."""
    picture = Image.fromarray(as_array(figure))
    picture.quantize(COLOURS, method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE).save(
        path, optimize=True
    )
    print(f"{path}: {picture.width}x{picture.height}, {path.stat().st_size / 1000:.0f} kB")


def main() -> None:
    """Train what is not trained yet, and draw."""
    flags = parser(__doc__)
    flags.add_argument("--networks", type=words, default=list(STEPS))
    flags.add_argument("--folder", type=Path, default=Path("runs/explain"), help="of the runs")
    flags.add_argument("--out", type=Path, required=True, help="folder for the pictures")
    options = flags.parse_args()
    for network in options.networks:
        start = time.process_time()
        train(run_config(network), options.folder / network)
        print(f"{network}: {time.process_time() - start:.0f} CPU seconds", flush=True)
    networks = {network: load(options.folder / network) for network in options.networks}
    fusers = {fuser.model.title: fuser for fuser in networks.values()}
    source = SyntheticScenes("wv4", num_scenes=SCENE + 1, size=SIZE, split="test")
    sample = source[SCENE]
    images = [jnp.asarray(sample[key][None]) for key in ("pan", "ms", "lms")]
    fused = {title: np.asarray(fuser.fuse_unit(*images))[0] for title, fuser in fusers.items()}
    label, image = best_formula(source, sample, images)
    fused |= {label: image, "EXP": sample["lms"]}
    for title, image in fused.items():
        print(f"{title}: RMSE {1000 * np.sqrt(np.square(image - sample['gt']).mean()):.2f} e-3")
    del fused["EXP"]
    save(draw_details(sample, fused, range(4), inches=1), options.out / "explain_detail.png")
    if "cf2n" in networks:
        blocks = maps_of(networks["cf2n"], images, CF2N_BLOCKS)
        save(draw_blocks(blocks, most=8, inches=2.8), options.out / "explain_cf2n.png")
        save(draw_shares(networks["cf2n"], images), options.out / "explain_fd2r.png")
    others = {}
    for network, blocks in BLOCKS.items():
        if network in networks:
            fuser = networks[network]
            maps = maps_of(fuser, images, blocks)
            others |= {f"{fuser.model.title}: {name}": image for name, image in maps.items()}
    save(draw_blocks(others, 4, most=8, inches=2.8), options.out / "explain_blocks.png")
    one_pass = {title: fuser for title, fuser in fusers.items() if fuser.diffusion is None}
    influence = draw_influence(one_pass, *images[:2], PIXEL, inches=1.5)
    save(influence, options.out / "explain_influence.png")
    attention = draw_attention(one_pass, *images[:2], PIXEL, inches=1.3)
    if attention is not None:
        save(attention, options.out / "explain_attention.png")


if __name__ == "__main__":
    main()
