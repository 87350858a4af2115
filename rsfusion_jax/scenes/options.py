"""What can be chosen when a scene is fused."""

import dataclasses
from pathlib import Path

from rsfusion_jax.errors import UserError


@dataclasses.dataclass(frozen=True)
class Options:
    """How a scene is fused; the flags of `rsfusion fuse` have the same names.

    Attributes:
        method: classical method, or "auto" for the best one for the sensor; None with weights.
        sensor: whose pixels these are; None takes what the metadata or the weights say.
        bands: of MS to fuse, from 1; None for all.
        max_value: full scale, where it is not that of the weights.
        extent: "intersection", "union", "pan" or "refuse"; see `geometry.written_span`.
        grid: PAN (row, column) of the corner where MS begins, for files that do not say.
        shift: "report" measures a residual shift, "auto" also corrects it, "none" does neither;
            (rows, columns) in PAN pixels is taken as given.
        warp: whether MS in another coordinate system is warped as it is read.
        dtype: stored type; None for that of MS.
        memory: budget of this process, bytes or as "2GB".
        block: PAN pixels along a side of a block; None for what fits.
        batch: windows that the device takes at once; None for what suits it.
        tile: side of the blended tiles of a network that sees the whole image; None for its own.
        overlap: PAN pixels that they share; None for half.
        sampler: of a diffusion network; None for the one that it was trained to be used with.
        steps: of the sampler; None for as many as are usual for it.
        seed: of a diffusion network's noise; None is 0.
        draws: of a diffusion network, of which the mean is written; None is 1.
        std: GeoTIFF to write beside, of the draws' standard deviation; None.
        format: "gtiff" or "cog".
        compress: "deflate", "zstd", "lzw" or "none".
        overviews: whether reduced copies are stored.
        overwrite: whether an existing output may be replaced.
        resume: goes on where an interrupted run with the same options ended.
        shard: (i, n): only the i-th of n parts, from 1; the last one to end puts them together.
        quicklook: PNG to write beside; None.
        report: JSON of no-reference indices to write beside; None.
        samples: on how many parts of the scene those are measured.
        quiet: no progress on the screen.
    """

    method: str | None = None
    sensor: str | None = None
    bands: tuple[int, ...] | None = None
    max_value: float | None = None
    extent: str = "intersection"
    grid: tuple[float, float] | None = None
    shift: str | tuple[float, float] = "report"
    warp: bool = True
    dtype: str | None = None
    memory: str | int = "2GB"
    block: int | None = None
    batch: int | None = None
    tile: int | None = None
    overlap: int | None = None
    sampler: str | None = None
    steps: int | None = None
    seed: int | None = None
    draws: int | None = None
    std: str | Path | None = None
    format: str = "gtiff"
    compress: str = "deflate"
    overviews: bool = True
    overwrite: bool = False
    resume: bool = False
    shard: tuple[int, int] = (1, 1)
    quicklook: str | Path | None = None
    report: str | Path | None = None
    samples: int = 9
    quiet: bool = False

    def __post_init__(self):
        if self.block is not None and (self.block < 64 or self.block % 16):
            raise UserError(f"--block={self.block} must be a multiple of 16, at least 64")
        if self.batch is not None and self.batch < 1:
            raise UserError(f"--batch={self.batch} must be at least 1")
        for name in ("steps", "draws"):
            if (value := getattr(self, name)) is not None and value < 1:
                raise UserError(f"--{name}={value} must be at least 1")
        if self.std is not None and (self.draws or 1) < 2:
            raise UserError("--std needs --draws of at least 2")
        if self.max_value is not None and not 0 < self.max_value < float("inf"):
            raise UserError(f"--max-value={self.max_value:g} must be a positive number")
        index, total = self.shard
        if not 1 <= index <= total:
            raise UserError(f"--shard={index}/{total} must be i/n with i from 1 to n")
        if isinstance(self.shift, str) and self.shift not in ("report", "auto", "none"):
            raise UserError(
                f"--shift={self.shift} is neither report, auto, none nor ROWS,COLUMNS in PAN pixels"
            )

    @property
    def of_pixels(self) -> dict:
        """The options that decide what the output holds."""
        return {k: v for k, v in dataclasses.asdict(self).items() if k not in _FREE}

    @property
    def of_diffusion(self) -> dict:
        """The options that are set and for diffusion networks alone."""
        named = {name: getattr(self, name) for name in ("sampler", "steps", "seed", "draws", "std")}
        return {name: value for name, value in named.items() if value is not None}

    @property
    def changed(self) -> dict:
        """Those of `of_pixels` that are not the defaults."""
        defaults = {field.name: field.default for field in dataclasses.fields(self)}
        return {k: v for k, v in self.of_pixels.items() if v != defaults[k]}


_FREE = ("overwrite", "resume", "shard", "quicklook", "report", "std", "samples", "quiet", "memory")
"""Options that do not change the output's pixels."""
