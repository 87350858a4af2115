"""Adaptation: train a network on one scene and compare it with classical methods."""

import contextlib
import dataclasses
import functools
import io
import json
import math
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from rsfusion_jax import __version__
from rsfusion_jax.adaptation.budget import steps_within
from rsfusion_jax.adaptation.full_resolution import (
    FullResolution,
    full_resolution_row,
    full_resolution_windows,
)
from rsfusion_jax.adaptation.recipe import (
    ENOUGH,
    FEW,
    NETWORK,
    STEPS,
    fine_tuning,
    recipe,
)
from rsfusion_jax.adaptation.verdict import Verdict, classical_verdict, with_network
from rsfusion_jax.data.source import SetInfo
from rsfusion_jax.errors import UserError
from rsfusion_jax.evaluation.score import scenes_hash
from rsfusion_jax.inference.default import DEFAULT, provenance
from rsfusion_jax.inference.fuser import Fuser
from rsfusion_jax.inference.load import load
from rsfusion_jax.runs.checkpoint import find_checkpoint, read_card
from rsfusion_jax.runs.folder import START
from rsfusion_jax.scenes.degraded.camera import scene_camera
from rsfusion_jax.scenes.degraded.windows import Window, Windows, covered, make_windows
from rsfusion_jax.scenes.pair.geometry import ScenePair
from rsfusion_jax.sensors import Sensor
from rsfusion_jax.training.loop import train


@dataclasses.dataclass(frozen=True)
class Wish:
    """Options of an adaptation; the keyword arguments of `rsf.adapt`.

    Attributes:
        steps: number of optimiser steps; None for the default, or for as many as `seconds` allows.
        seconds: approximate training time, instead of `steps`.
        network: name of the network, or a dict of its name and fields; None for the network of
            `init`, or, without `init`, for OneSensor.
        init: run folder, checkpoint or `.pth` to start from, or "default" for the packaged weights;
            None for the packaged weights if they fit the network, else random weights.
        mtf: sensor whose MTF gains degrade the scene, instead of the scene's own sensor.
        pan_degradation: argument of `data.simulation.wald.simulate`. With the default, PAN gets
            the same blur as MS, so that their relative sharpness is the same at both resolutions.
        full_resolution: weight of an additional loss, the consistency of the image fused at full
            resolution with MS and PAN (`training.consistency`); 0 for none.
        fine_tune: number of further optimiser steps at the end with this loss alone; 0 for none.
        held_out: whether to hold out windows, which select the best weights and decide between the
            network and classical methods.
        strict: whether to raise an error if a classical method scores better.
        keep: folder in which the run is stored; None for a temporary one.
        seed: seed of the initial weights, the windows and the patches.
        quiet: whether to print nothing.
    """

    steps: int | None = None
    seconds: float | None = None
    network: str | Mapping | None = None
    init: str | Path | None = None
    mtf: str | Mapping | Sensor | None = None
    pan_degradation: str = "as_ms"
    full_resolution: float = 0.0
    fine_tune: int = 0
    held_out: bool = True
    strict: bool = False
    keep: str | Path | None = None
    seed: int = 0
    quiet: bool = False

    def __post_init__(self):
        for name in ("steps", "seconds"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise UserError(f"{name}={value} must be positive")
        if self.steps is not None and self.seconds is not None:
            raise UserError("steps and seconds are both given; choose one of them")
        if not 0 <= self.full_resolution < math.inf:
            raise UserError(
                f"full_resolution={self.full_resolution} is no weight: give 0 for none, or a "
                "positive number such as 1"
            )
        if not (self.fine_tune >= 0 and self.fine_tune % 1 == 0):
            raise UserError(
                f"fine_tune={self.fine_tune} is no number of steps: give 0 for none, or a positive "
                "one such as 50"
            )

    @property
    def looks_finer(self) -> bool:
        """Whether a loss at full resolution is used."""
        return self.full_resolution > 0 or self.fine_tune > 0


@dataclasses.dataclass(frozen=True)
class Degraded:
    """The degraded scene that a network was trained on.

    Attributes:
        scene: the pair before it was degraded.
        camera: sensor whose MTF gains degraded it.
        scales: full scales of PAN and of MS.
        train: windows that the network was trained on.
        held_out: windows that it was not trained on.
    """

    scene: ScenePair
    camera: Sensor
    scales: tuple[float, float]
    train: list[Window]
    held_out: list[Window]


@dataclasses.dataclass(frozen=True)
class Adaptation:
    """Result of an adaptation.

    Attributes:
        fuser: the network, with the weights that are best on the held-out windows; with the last
            weights if there are no such windows or after fine-tuning.
        verdict: comparison with classical methods; None without held-out windows.
        degraded: what it was trained on.
        finer: scores at full resolution; None without held-out windows or without a loss at full
            resolution.
    """

    fuser: Fuser
    verdict: Verdict | None
    degraded: Degraded
    finer: FullResolution | None = None

    @property
    def sentence(self) -> str:
        """One line of text with the scores on the held-out windows."""
        verdict = self.verdict
        if verdict is None:
            return (
                "no windows were held out, so the network was not compared with classical methods"
            )
        network, formula = verdict.network["ERGAS"], verdict.classical["ERGAS"]
        name, model = verdict.method, self.fuser.model.title
        before = verdict.before_tuning
        scores = (
            f"held-out ERGAS: {model} {network:.3f}"
            + (f" (before tuning {before['ERGAS']:.3f})" if before else "")
            + f", {name} {formula:.3f}, exp "
            f"{verdict.exp['ERGAS']:.3f}"
        )
        text = scores if verdict.network_wins else f"{scores}: {name} is better on this scene"
        return f"{text}; {self.finer.sentence}" if self.finer else text


def adapt_to(
    scene: ScenePair,
    wish: Wish,
    *,
    name: str,
    sensor,
    max_value: float,
    ratio: int,
    pan_value: float | None = None,
) -> Adaptation:
    """Train a network on a scene degraded by Wald's protocol.

    Args:
        scene: the pair, registered so that the centre of MS pixel 0 lies at PAN index (r - 1) / 2.
        wish: options of the adaptation.
        name: name of the scene, for logs and the stored run.
        sensor: sensor of the scene; None if unknown.
        max_value: full scale of the pixel values, which the network sees as 1.
        ratio: PAN pixels per MS pixel, r.
        pan_value: full scale of PAN, where its units are not those of MS; None for `max_value`.

    Raises:
        UserError: the scene or the options cannot be used, or, with `strict`, a classical method
            scores better.
    """
    with contextlib.ExitStack() as stack:
        if wish.quiet:
            stack.enter_context(contextlib.redirect_stdout(io.StringIO()))
            stack.enter_context(contextlib.redirect_stderr(io.StringIO()))
        guides = len(scene.pan.bands)
        if wish.looks_finer and guides != 1:
            raise UserError(
                f"PAN has {guides} bands; full_resolution and fine_tune compare the fused image "
                "with a single one, leave them out"
            )
        camera, source = scene_camera(scene, ratio, sensor, wish.mtf)
        scales = pan_value or max_value, max_value
        train_windows, held_out_windows = make_windows(
            scene,
            camera,
            scales,
            wish.pan_degradation,
            wish.held_out,
            wish.seed,
            full_resolution=wish.looks_finer,
        )
        info = SetInfo(
            name=name,
            sensor=camera,
            num_bands=len(scene.ms.bands),
            guide_bands=guides,
            ratio=ratio,
            max_value=max_value,
            ms_phase=float(ratio // 2),
            has_gt=True,
            pan_degradation=wish.pan_degradation,
            pan_value=pan_value,
        )
        sets, verdict, beside = {"train": Windows(train_windows, info)}, None, ""
        print(
            f"{name}: {len(train_windows)} windows to train on, {len(held_out_windows)} held out; "
            f"{source}"
        )
        if held_out_windows:
            sets["valid"] = Windows(held_out_windows, info)
            verdict = classical_verdict(sets["valid"])
            beside = verdict.beside
        network, init = start(wish)
        few = init == DEFAULT and covered(train_windows) < ENOUGH
        make_config = functools.partial(
            recipe,
            network,
            # A run kept with --keep can only be resumed on the same windows.
            scene=f"{name}, windows {scenes_hash(sets['train'])[:16]}",
            ratio=ratio,
            init=init,
            seed=wish.seed,
            full_resolution=wish.full_resolution,
        )
        config = make_config(steps=wish.steps or (FEW if few else STEPS))
        if wish.seconds is not None:
            config = make_config(steps=steps_within(wish.seconds, config, sets))
        folder = Path(wish.keep or stack.enter_context(tempfile.TemporaryDirectory()))
        main_run = folder / START if wish.fine_tune else folder
        fusers = [load(train(config, main_run, sets=sets, beside=beside))]
        if wish.fine_tune:
            # No validation set: the held-out windows must not select the weights here.
            tuning = fine_tuning(config, wish.fine_tune, str(main_run))
            fusers.append(load(train(tuning, folder, sets={"train": sets["train"]})))
        finer = None
        if verdict is not None:
            for fuser in fusers:
                verdict = with_network(verdict, fuser, sets["valid"])
        if verdict is not None and wish.looks_finer:
            full_windows = full_resolution_windows(held_out_windows, info)
            rows = [full_resolution_row(full_windows, fuser.fuse_unit) for fuser in fusers]
            before = rows[0] if wish.fine_tune else None
            finer = FullResolution(full_resolution_row(full_windows), rows[-1], before)
        degraded = Degraded(scene, camera, scales, train_windows, held_out_windows)
        adaptation = Adaptation(fusers[-1], verdict, degraded, finer)
        _write_provenance(folder, adaptation, wish, info, len(train_windows), len(held_out_windows))
        print(adaptation.sentence, file=sys.stderr)
    if wish.strict and not (verdict and verdict.network_wins):
        raise UserError(f"{adaptation.sentence}; train longer, or leave out strict")
    return adaptation


def start(wish: Wish) -> tuple[str | dict, str]:
    """Choose the network and its initial weights, as arguments of `recipe`.

    Args:
        wish: options of the adaptation.

    Returns:
        The argument `network` of `recipe`, and its argument `init`.

    Raises:
        UserError: a PyTorch file is to be loaded, but its network is not named.
    """
    network, init = wish.network, wish.init
    if network is not None and not isinstance(network, str):
        network = dict(network)
    if network is None and init is None:
        network = NETWORK
    if init is None and network in (NETWORK, provenance()["network"]["name"]):
        init = DEFAULT
    if network is None and init == DEFAULT:
        network = provenance()["network"]
    if network is None:
        if Path(init).is_file():
            raise UserError(f"{init} has weights but not the name of their network; name it")
        stored = read_card(find_checkpoint(init))["network"]
        ignored = ("num_bands", "guide_bands", "ratio")
        network = {k: v for k, v in stored.items() if k not in ignored}
    return network, str(init or "")


def _write_provenance(
    folder: Path,
    adaptation: Adaptation,
    wish: Wish,
    info: SetInfo,
    num_train: int,
    num_held_out: int,
):
    """Write `adaptation.json` in the run folder: the origin of the weights, and their scores."""
    verdict, finer = adaptation.verdict, adaptation.finer
    record = {
        "scene": info.name,
        "version": __version__,
        "sensor": dataclasses.asdict(info.sensor),
        "pan_degradation": info.pan_degradation,
        "max_value": info.max_value,
        "pan_value": info.pan_value or info.max_value,
        "full_resolution": wish.full_resolution,
        "fine_tune": wish.fine_tune,
        "windows": {"trained_on": num_train, "held_out": num_held_out},
        "held_out_scores": None if verdict is None else dataclasses.asdict(verdict),
        "held_out_full_resolution": None if finer is None else dataclasses.asdict(finer),
    }
    (folder / "adaptation.json").write_text(json.dumps(record, indent=1) + "\n")
