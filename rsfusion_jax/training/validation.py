"""Validation during training: scores, example images, and the best checkpoint so far."""

import functools
import math
from collections.abc import Sequence

import jax
import numpy as np

from rsfusion_jax.classical import list_methods
from rsfusion_jax.data.source import Source
from rsfusion_jax.errors import UserError
from rsfusion_jax.evaluation.channels import draw_channels
from rsfusion_jax.evaluation.measures import REDUCED, reduced_metrics
from rsfusion_jax.evaluation.panels import as_array, panel
from rsfusion_jax.evaluation.score import score
from rsfusion_jax.inference.fuser import Fuser
from rsfusion_jax.inference.intermediates import feature_maps
from rsfusion_jax.runs.checkpoint import Checkpoints
from rsfusion_jax.training.sharding import fetch, put_whole_batch, replicated
from rsfusion_jax.training.writers import RunLog

_PICTURES = 2


def check_options(options, ratio: int) -> None:
    """Raise `UserError` for a wrong `config.eval`, before the first validation would fail.

    Args:
        options: `config.eval`.
        ratio: PAN pixels per MS pixel.
    """
    for name, requested, known in (
        ("best_metric", {options.best_metric}, reduced_metrics(ratio)),
        ("methods", set(options.methods), list_methods()),
    ):
        if unknown := sorted(requested - set(known)):
            raise UserError(
                f"eval.{name}: {unknown[0]!r} is unknown; choose from {', '.join(known)}"
            )


class Validation:
    """Score weights on the validation set and save the best.

    Args:
        options: `config.eval`.
        source: the validation set.
        model: the network.
        mesh: mesh of devices that share each batch.
        checkpoints: checkpoints of the run, where the best weights are saved.
        log: the log that scores and example images are written to.
        card: card of the network, from `runs.card.network_card`.
        blocks: blocks of the network whose outputs are drawn, from `intermediates.parse_blocks`.
    """

    def __init__(
        self,
        options,
        source: Source | None,
        model,
        mesh: jax.sharding.Mesh,
        checkpoints: Checkpoints,
        log: RunLog,
        card: dict,
        blocks: Sequence[str] = (),
    ):
        self._metric = options.best_metric
        self._batch_size = math.ceil(options.batch_size / mesh.size) * mesh.size
        self._source, self._model, self._mesh = source, model, mesh
        self._checkpoints, self._log, self._card = checkpoints, log, card
        self._blocks = blocks
        best = checkpoints.best_score()
        self._best = None if best is None else best[self._metric]

    def run(self, step: int, params: dict) -> str:
        """Score the weights `params` at a step; return text for the progress bar."""
        replicas = jax.device_put(params, replicated(self._mesh))
        fuser = Fuser(self._model, {"params": replicas}, diffusion=self._card["diffusion"])
        means = score(
            fuser.fuse_unit,
            self._source,
            batch_size=self._batch_size,
            put=functools.partial(put_whole_batch, self._mesh),
            fetch=fetch,
        ).mean()
        self._log.scalars(step, {f"valid/{name}": value for name, value in means.items()})
        self._log.image(step, "valid/fused", self._picture(fuser))
        for block, picture in self._features(fuser).items():
            self._log.image(step, f"features/{block}", picture)
        value = means[self._metric]
        better = np.less if REDUCED[self._metric] else np.greater
        # A NaN score is never the best.
        if math.isfinite(value) and (self._best is None or better(value, self._best)):
            self._best = value
            self._checkpoints.save_best(step, params, self._card, means)
        best = "none yet" if self._best is None else f"{self._best:.4f}"
        return f"valid {self._metric} {value:.4f} (best {best})"

    def _picture(self, fuser: Fuser) -> np.ndarray:
        samples = self._samples()
        fused = [fetch(fuser.fuse_unit(*_images(sample)))[0] for sample in samples]
        return as_array(panel(samples, fused, self._source.info.sensor.rgb))

    def _features(self, fuser: Fuser) -> dict[str, np.ndarray]:
        """Draw the outputs of the named blocks, one image below the other."""
        if not self._blocks:
            return {}
        options = {"blocks": self._blocks, "diffusion": fuser.diffusion}
        maps = [
            feature_maps(self._model, fuser.variables, *_images(sample), **options)
            for sample in self._samples()
        ]
        return {
            block: np.concatenate([draw_channels(fetch(one[block])[0]) for one in maps])
            for block in self._blocks
        }

    def _samples(self) -> list[dict]:
        return [self._source[i] for i in range(min(_PICTURES, len(self._source)))]


def _images(sample: dict) -> list[np.ndarray]:
    """A batch of one image: PAN, MS and LMS."""
    return [sample[key][None] for key in ("pan", "ms", "lms")]
