"""Everything that is decided before the first pixel is fused."""

import dataclasses
import hashlib
import sys
import time
from pathlib import Path

import jax
import numpy as np

from rsfusion_jax.classical.registry import method_setting
from rsfusion_jax.classical.streaming import STREAMED
from rsfusion_jax.errors import UserError
from rsfusion_jax.progress import MEGAPIXELS, ProgressBar
from rsfusion_jax.scenes.options import Options
from rsfusion_jax.scenes.pair import relate as pair
from rsfusion_jax.scenes.pair.geometry import Scene
from rsfusion_jax.scenes.work import memory
from rsfusion_jax.scenes.work.drawing import denoiser
from rsfusion_jax.scenes.work.engines import Engine, classical_engine, network_engine
from rsfusion_jax.scenes.work.fit import fit_scene, from_plain, to_plain
from rsfusion_jax.scenes.work.pixels import Pixels, check_scale, choose_pixels
from rsfusion_jax.sensors import get_sensor, select_bands

_FIT_SIDE = 512
"""PAN pixels along a side of the windows in which statistics are taken."""
_HALF = 0.52
"""PAN pixels by which a grid may reach beyond the other image: half a pixel, as pixels' centres
count, and the rounding of geotransforms."""


class Inputs:
    """Two files and what shall be done with them, checked against each other.

    Attributes:
        pan, ms: files.
        notices: what the user was told.
        sensor: whose pixels these are, for the bands that are fused; None.
        method: classical method; None with a network.
        fuser: the network at the scene's scale; None.
        measured: the residual shift; None where it was not measured.
        coefficients: of a fitted method, as JSON has them; None with a network.
        seconds: that fitting took.
    """

    def __init__(self, pan: Path, ms: Path, fuser, options: Options):
        self.notices, self._options = [], options
        self.measured = self.coefficients = None
        self.seconds = 0.0
        self.pan, self.ms, notices = pair.open_pair(pan, ms, options.bands, options.warp)
        self.tell(notices)
        model = None if fuser is None else fuser.model
        wanted = None if model is None else model.ratio
        self._relation = pair.relate_files(self.pan, self.ms, options.grid, wanted)
        self.sensor = self._find_sensor(fuser)
        self.method = self._check_bands(model)
        self._check_diffusion(fuser)
        self.fuser = self._with_scale(fuser)

    def close(self) -> None:
        """Closes the files."""
        self.pan.close()
        self.ms.close()

    def tell(self, notices) -> None:
        """Prints notices and keeps them."""
        for notice in notices:
            self.notices.append(notice)
            if not self._options.quiet:
                print(f"notice: {notice}", file=sys.stderr)

    @property
    def name(self) -> str:
        """Of the method or network."""
        return self.method or self.fuser.model.title.lower()

    @property
    def ratio(self) -> int:
        """PAN pixels per MS pixel."""
        return self._relation.ratio

    def fingerprint(self) -> dict:
        """What a run with the same output has in common, beside its options."""
        marks = {"weights": None if self.fuser is None else _weights_hash(self.fuser)}
        if self.fuser is not None and self.fuser.diffusion is not None:
            marks["process"] = dataclasses.asdict(self.fuser.diffusion)
        for source in (self.pan, self.ms):
            status = source.path.stat()
            marks[source.label] = [source.path.name, status.st_size, status.st_mtime_ns]
        return marks

    def survey(self) -> None:
        """Looks at both images' values.

        Raises:
            UserError: nothing valid, or values that contradict the full scale.
        """
        for source in (self.pan, self.ms):
            values, notices = source.survey()
            self.tell(notices)
            if self.fuser is not None:
                given = self._options.max_value is not None
                self.tell(check_scale(source, values, self.fuser.max_value, given))

    def shift(self, found: dict) -> tuple[float, float]:
        """(rows, columns) that is corrected; what is measured is told."""
        wanted = self._options.shift
        if not isinstance(wanted, str):
            return tuple(map(float, wanted))
        if wanted == "none":
            return 0.0, 0.0
        measured = self.measured = pair.measure_shift(self.pan, self.ms, self._relation)
        if measured is None:
            self.tell(["residual shift: too little structure or too few valid pixels to measure"])
            return 0.0, 0.0
        corrected = wanted == "auto"
        self.tell(
            [
                f"residual shift of MS against PAN: {measured.rows:+.2f} rows, "
                f"{measured.columns:+.2f} columns in PAN pixels (R2 {measured.explained:.4f}, at 0 "
                f"{measured.before:.4f})" + ("; corrected" if corrected else "")
            ]
        )
        return (measured.rows, measured.columns) if corrected else (0.0, 0.0)

    def prepare(self, shift, found: dict, budget: int) -> tuple[Engine, Scene]:
        """The engine with its weights or coefficients, and the scene on its frame.

        Args:
            shift: residual shift that is corrected.
            found: what an interrupted run had found.
            budget: bytes of memory.
        """
        options = self._options
        if self.fuser is not None:
            if self.fuser.diffusion is not None:
                engine = denoiser(self.fuser, options)
            else:
                engine = network_engine(self.fuser, tile=options.tile, overlap=options.overlap)
            return engine, self.scene(engine.phase, shift, engine.align, engine.tile or 0)
        streamed, bands, ratio = STREAMED[self.method], len(self.ms.bands), self._relation.ratio
        scene = self.scene(streamed.phase(ratio), shift, streamed.align(ratio))
        setting = method_setting(self.method, self.sensor, ratio, bands)
        begin = time.perf_counter()
        if "coefficients" in found:
            coefficients = from_plain(found["coefficients"])
        else:
            total = len(streamed.passes(bands)) * scene.size[0] * scene.size[1]
            room = budget - memory.held()
            with ProgressBar("statistics", total, unit=MEGAPIXELS, quiet=options.quiet) as stage:
                coefficients = fit_scene(
                    self.method, setting, scene, _FIT_SIDE, room, stage.advance
                )
        self.seconds = time.perf_counter() - begin
        self.coefficients = to_plain(coefficients)
        return classical_engine(self.method, setting, bands, coefficients), scene

    def pixels(self, scene: Scene) -> Pixels:
        """How the output is stored."""
        spans = scene.rows, scene.columns
        gaps = any(
            span.start < max(0, span.axis.footprint[0] - _HALF)
            or span.start + span.size > min(span.axis.fine, span.axis.footprint[1] + _HALF)
            for span in spans
        )
        return choose_pixels(self.pan, self.ms, self._options.dtype, gaps)

    def scene(self, phase: float, shift, align: int, least: int = 0) -> Scene:
        """The pair on the frame that a method works in, and a notice of its phase.

        Args:
            phase: PAN index of MS pixel 0's centre that the method works at.
            shift: residual shift that is corrected.
            align: the frame's lengths are multiples of it.
            least: the frame is at least as long.
        """
        scene = pair.make_scene(
            self.pan,
            self.ms,
            self._relation,
            phase=phase,
            shift=shift,
            extent=self._options.extent,
            align=align,
            least=least,
        )
        self.tell(pair.phase_notices(scene))
        return scene

    def _find_sensor(self, fuser):
        name = self._options.sensor or self.ms.sensor or self.pan.sensor
        trained = None if fuser is None else fuser.sensor
        if name is None:
            return trained
        record = get_sensor(name)
        if self._options.bands and record.num_bands == self.ms.all_bands:
            record = select_bands(record, [record.bands[i - 1] for i in self.ms.bands])
        if trained is not None and trained.name != record.name:
            self.tell([f"weights of sensor {trained.name!r} used on {record.name!r}"])
        return record

    def _check_bands(self, model) -> str | None:
        """The classical method's name; None with a network."""
        guide, bands = len(self.pan.bands), len(self.ms.bands)
        wanted = 1 if model is None else model.guide_bands
        if guide != wanted:
            raise UserError(
                f"{self.pan.path} has {guide} bands, expected {wanted} for PAN; swap PAN and MS, "
                "or choose a band with gdal_translate -b"
            )
        if model is not None:
            if self._options.method is not None:
                raise UserError("weights and --method are given both; choose one")
            if bands != model.num_bands:
                raise UserError(
                    f"{self.ms.path} has {bands} bands, the weights take {model.num_bands}; "
                    "name them with --bands, also one that is tagged alpha, or use other weights"
                )
            return None
        name = self._options.method or "auto"
        if name == "auto":
            name = "gsa" if self.sensor is None or self.sensor.mtf_pan is None else "bdsd_pc"
            known = "no sensor is named" if self.sensor is None else f"sensor {self.sensor.name!r}"
            self.tell([f"method {name}, the choice where {known}"])
        method_setting(name, self.sensor, self._relation.ratio, bands)
        return name

    def _check_diffusion(self, fuser) -> None:
        given = self._options.of_diffusion
        if given and (fuser is None or fuser.diffusion is None):
            name, value = next(iter(given.items()))
            raise UserError(
                f"--{name}={value} is for diffusion networks, "
                f"{self.method or 'this network'} fuses in one pass; leave it out"
            )

    def _with_scale(self, fuser):
        if fuser is None or self._options.max_value in (None, fuser.max_value):
            return fuser
        return type(fuser)(
            fuser.model,
            fuser.variables,
            max_value=self._options.max_value,
            ms_phase=fuser.ms_phase,
            diffusion=dataclasses.asdict(fuser.diffusion) if fuser.diffusion else None,
        )


def _weights_hash(fuser) -> str:
    digest = hashlib.sha256()
    for path, leaf in jax.tree_util.tree_leaves_with_path(fuser.variables):
        digest.update(jax.tree_util.keystr(path).encode())
        digest.update(np.asarray(leaf).tobytes())
    return digest.hexdigest()
