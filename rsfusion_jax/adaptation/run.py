"""Adaptation of a network to one scene; read `adapt_to` top to bottom."""

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
from rsfusion_jax.adaptation.camera import scene_camera
from rsfusion_jax.adaptation.full_resolution import (
    FullResolution,
    full_resolution_row,
    full_resolution_windows,
)
from rsfusion_jax.adaptation.recipe import (
    ENOUGH,
    FEW,
    LARGE,
    SMALL,
    STEPS,
    fine_tuning,
    recipe,
)
from rsfusion_jax.adaptation.verdict import Verdict, classical_verdict, with_network
from rsfusion_jax.adaptation.windows import Windows, covered, make_windows
from rsfusion_jax.data.source import SetInfo
from rsfusion_jax.errors import UserError
from rsfusion_jax.evaluation.score import scenes_hash
from rsfusion_jax.inference.default import DEFAULT, provenance
from rsfusion_jax.inference.fuser import Fuser
from rsfusion_jax.inference.load import load
from rsfusion_jax.runs.checkpoint import find_checkpoint, read_card
from rsfusion_jax.runs.folder import START
from rsfusion_jax.scenes.pair.geometry import ScenePair
from rsfusion_jax.sensors import Sensor
from rsfusion_jax.training.loop import train


@dataclasses.dataclass(frozen=True)
class Wish:
    """What is asked of an adaptation; the keywords of `rsf.adapt`.

    Attributes:
        steps: optimiser steps; None for the default, or what fits into `seconds`.
        seconds: of training, about; None.
        network: a name, or a dict of the name and fields of the module; None for that of `init`,
            else the default for a scene of this size.
        init: run folder, checkpoint or `.pth` to start from, or "default", the packaged weights;
            None for these where they fit the network, else weights drawn by `seed`.
        mtf: sensor whose gains degrade the scene, where they are not those of its own.
        pan_degradation: of `data.wald.simulate`. What a network learns of how sharp PAN is holds
            at the finer scale if one blur degrades both images.
        full_resolution: weight of a loss beside the supervised one: fused at full resolution, the
            scene must be consistent with MS and PAN (`training.consistency`); 0 for none.
        fine_tune: optimiser steps after the others on that loss alone; 0 for none.
        held_out: whether windows are held out, for the best weights and the verdict.
        strict: whether a network that does not win is an error.
        keep: folder in which the run stays; None for none.
        seed: of weights, windows and patches.
        quiet: nothing on the screen.
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
        """Whether anything is learnt at full resolution."""
        return self.full_resolution > 0 or self.fine_tune > 0


@dataclasses.dataclass(frozen=True)
class Adaptation:
    """What came of it.

    Attributes:
        fuser: the network with its best weights on the held-out windows, else its last.
        verdict: None where nothing was held out.
        finer: None there, and where nothing was learnt at full resolution.
    """

    fuser: Fuser
    verdict: Verdict | None
    finer: FullResolution | None = None

    @property
    def sentence(self) -> str:
        """The verdict in words."""
        verdict = self.verdict
        if verdict is None:
            return "nothing was held out: whether the network beats a formula here is not known"
        network, formula = verdict.network["ERGAS"], verdict.classical["ERGAS"]
        name, model = verdict.method, self.fuser.model.title
        before = verdict.before_tuning
        found = (
            f"held-out ERGAS: {model} {network:.3f}"
            + (f" (before tuning {before['ERGAS']:.3f})" if before else "")
            + f", {name} {formula:.3f}, exp "
            f"{verdict.exp['ERGAS']:.3f}"
        )
        found = found if verdict.network_wins else f"{found}: {name} is better on this scene"
        return f"{found}; {self.finer.sentence}" if self.finer else found


def adapt_to(
    scene: ScenePair, wish: Wish, *, name: str, sensor, max_value: float, ratio: int
) -> Adaptation:
    """Trains a network on a scene degraded by Wald's protocol.

    Args:
        scene: at the phase (r - 1) / 2.
        wish: what is asked for.
        name: of the scene, for logs and the kept run.
        sensor: whose pixels these are; None where unknown.
        max_value: what stands for 1.
        ratio: r.

    Raises:
        UserError: a scene or wish that cannot be used, or (strict) a network that does not win.
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
        train_on, judge_by = make_windows(
            scene,
            camera,
            max_value,
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
        )
        sets, verdict, beside = {"train": Windows(train_on, info)}, None, ""
        print(f"{name}: {len(train_on)} windows to train on, {len(judge_by)} held out; {source}")
        if judge_by:
            sets["valid"] = Windows(judge_by, info)
            verdict = classical_verdict(sets["valid"])
            beside = verdict.beside
        network, init = start(wish, covered(train_on), info.guide_bands)
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
        config = make_config(steps=wish.steps or (FEW if init == DEFAULT else STEPS))
        if wish.seconds is not None:
            config = make_config(steps=steps_within(wish.seconds, config, sets))
        folder = Path(wish.keep or stack.enter_context(tempfile.TemporaryDirectory()))
        learnt = folder / START if wish.fine_tune else folder
        fusers = [load(train(config, learnt, sets=sets, beside=beside))]
        if wish.fine_tune:
            # Without validation: the held-out windows choose nothing here.
            tuning = fine_tuning(config, wish.fine_tune, str(learnt))
            fusers.append(load(train(tuning, folder, sets={"train": sets["train"]})))
        finer = None
        if verdict is not None:
            for fuser in fusers:
                verdict = with_network(verdict, fuser, sets["valid"])
        if verdict is not None and wish.looks_finer:
            fine = full_resolution_windows(judge_by, info)
            rows = [full_resolution_row(fine, fuser.fuse_unit) for fuser in fusers]
            before = rows[0] if wish.fine_tune else None
            finer = FullResolution(full_resolution_row(fine), rows[-1], before)
        adaptation = Adaptation(fusers[-1], verdict, finer)
        _write_provenance(folder, adaptation, wish, info, len(train_on), len(judge_by))
        print(adaptation.sentence, file=sys.stderr)
    if wish.strict and not (verdict and verdict.network_wins):
        raise UserError(f"{adaptation.sentence}; train longer, or leave out strict")
    return adaptation


def start(wish: Wish, pixels: int, guide_bands: int) -> tuple[str | dict, str]:
    """The network as `recipe` takes it, and where its weights come from.

    Args:
        wish: what is asked for.
        pixels: of MS to train on.
        guide_bands: G; the packaged weights are for one.
    """
    network, init = wish.network, wish.init
    if network is not None and not isinstance(network, str):
        network = dict(network)
    if network is None and init is None:
        network = SMALL if pixels < ENOUGH and guide_bands == 1 else LARGE
    if init is None and network == SMALL and guide_bands == 1:
        init = DEFAULT
    if network is None and init == DEFAULT:
        network = provenance()["network"]
    if network is None:
        if Path(init).is_file():
            raise UserError(f"{init} holds tensors alone; name their network")
        stored = read_card(find_checkpoint(init))["network"]
        free = ("num_bands", "guide_bands", "ratio")
        network = {k: v for k, v in stored.items() if k not in free}
    return network, str(init or "")


def _write_provenance(
    folder: Path, adaptation: Adaptation, wish: Wish, info: SetInfo, train: int, held: int
):
    """`adaptation.json` in the run folder: what the weights were made from, and the scores."""
    verdict, finer = adaptation.verdict, adaptation.finer
    record = {
        "scene": info.name,
        "version": __version__,
        "sensor": dataclasses.asdict(info.sensor),
        "pan_degradation": info.pan_degradation,
        "max_value": info.max_value,
        "full_resolution": wish.full_resolution,
        "fine_tune": wish.fine_tune,
        "windows": {"trained_on": train, "held_out": held},
        "held_out_scores": None if verdict is None else dataclasses.asdict(verdict),
        "held_out_full_resolution": None if finer is None else dataclasses.asdict(finer),
    }
    (folder / "adaptation.json").write_text(json.dumps(record, indent=1) + "\n")
