"""What can be chosen when a scene is fused."""

import dataclasses
from pathlib import Path

from rsfusion_jax.data.opening import Trust
from rsfusion_jax.errors import UserError
from rsfusion_jax.sensors import is_full_scale


@dataclasses.dataclass(frozen=True)
class Options:
    """How a scene is fused; the flags of `rsfusion fuse` have the same names.

    Attributes:
        method: classical method, or "auto" for the best one for the sensor; None with weights.
        sensor: sensor whose pixels these are; None for the one that the metadata or weights name.
        bands: MS bands to fuse, from 1; None for all.
        ratio: PAN pixels per true pixel of an MS that was enlarged to PAN's grid before; None.
        nodata: value of invalid pixels in PAN and MS; None for what the files say.
        max_value: full scale, one for both images or (PAN's, MS's), which is what is stored; None
            for that of the weights.
        extent: "intersection", "union", "pan" or "refuse"; see `geometry.written_span`.
        grid: PAN (row, column) of the corner where MS begins, for files without a georeference.
        shift: residual shift of MS: "report" measures it, "auto" also corrects it, "local" measures
            one that varies over the scene and corrects it, "none" does nothing; or (rows, columns)
            in PAN pixels to correct.
        warp: whether an MS in another coordinate system is warped as it is read.
        dtype: stored type; None for that of MS.
        memory: memory budget of this process, in bytes or as "2GB".
        block: PAN pixels along a side of a block at most, rounded down to whole tiles of the
            output, of 256 pixels (128 or 64 where blocks are smaller); None for the largest that
            fits.
        batch: windows that the device takes at once; None for the device's default.
        tile: PAN pixels along a side of blended tiles, for networks that see the whole image; None
            for the network's own.
        overlap: PAN pixels that neighbouring tiles share; None for a quarter of a tile, for half
            of it with diffusion networks.
        sampler: sampler of a diffusion network; None for that of its weights.
        steps: number of sampler steps; None for that of the weights.
        seed: seed of a diffusion network's noise; None for 0.
        draws: number of draws of a diffusion network, whose mean is written; None for 1.
        std: GeoTIFF for the standard deviation of the draws; None for none.
        interval: (percent, GeoTIFF): share of the errors that shall lie within an interval, and
            where its half widths are written; None for none.
        format: "gtiff" or "cog".
        compress: "deflate", "zstd", "lzw" or "none".
        overviews: whether reduced copies are stored.
        overwrite: whether an existing output may be replaced.
        resume: whether to go on where an interrupted run with the same options ended.
        shard: (i, n): fuse only part i of n, from 1; the last part to end writes the output.
        quicklook: PNG for a small picture; None for none.
        rgb: bands of the output that are red, green and blue in it, from 1; None to choose them.
        report: JSON file for indices without ground truth; None for none.
        view: new .html that shows the scene, PAN, MS, half widths and deviations in a browser, with
            the indices of `report`, which names it; None for none.
        samples: number of parts of the scene on which those indices are measured.
        quiet: whether nothing is printed.
        drivers: drivers of GDAL that may open images whose names do not say their format.
        follow: whether a virtual dataset may lead out of its folder and to the network.
    """

    method: str | None = None
    sensor: str | None = None
    bands: tuple[int, ...] | None = None
    ratio: int | None = None
    nodata: float | None = None
    max_value: float | tuple[float, float] | None = None
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
    interval: tuple[float, str | Path] | None = None
    format: str = "gtiff"
    compress: str = "deflate"
    overviews: bool = True
    overwrite: bool = False
    resume: bool = False
    shard: tuple[int, int] = (1, 1)
    quicklook: str | Path | None = None
    rgb: tuple[int, int, int] | None = None
    report: str | Path | None = None
    view: str | Path | None = None
    samples: int = 9
    quiet: bool = False
    drivers: tuple[str, ...] = ()
    follow: bool = False

    def __post_init__(self):
        if self.block is not None and (self.block < 64 or self.block % 16):
            raise UserError(f"--block={self.block} must be a multiple of 16, at least 64")
        if self.batch is not None and self.batch < 1:
            raise UserError(f"--batch={self.batch} must be at least 1")
        for name in ("steps", "draws"):
            if (value := getattr(self, name)) is not None and value < 1:
                raise UserError(f"--{name}={value} must be at least 1")
        if self.samples < 0:
            raise UserError(f"--samples={self.samples} must be at least 0")
        for name in ("method", "sensor"):
            if getattr(self, name) == "":
                raise UserError(f"--{name}= is empty; name one, or leave it out")
        if self.std is not None and (self.draws or 1) < 2:
            raise UserError("--std needs --draws of at least 2")
        if self.interval is not None and not 50 <= self.interval[0] < 100:
            raise UserError(
                f"--interval={self.interval[0]:g} is no share of errors in percent: give 50 to "
                "less than 100, such as 90"
            )
        if self.ratio is not None and self.ratio < 2:
            raise UserError(f"--ratio={self.ratio} must be at least 2")
        if self.rgb is not None and len(self.rgb) != 3:
            listed = ",".join(map(str, self.rgb))
            raise UserError(f"--rgb={listed} must be three bands: red, green, blue")
        if self.max_value is not None:
            values = self.max_value if isinstance(self.max_value, tuple) else (self.max_value,)
            if len(values) > 2 or not all(map(is_full_scale, values)):
                listed = ",".join(f"{value:g}" for value in values)
                raise UserError(
                    f"--max-value={listed} must be a positive number up to 1e18, or PAN's and "
                    "that of MS"
                )
        index, total = self.shard
        if not 1 <= index <= total:
            raise UserError(f"--shard={index}/{total} must be i/n with i from 1 to n")
        if isinstance(self.shift, str) and self.shift not in ("report", "auto", "local", "none"):
            raise UserError(
                f"--shift={self.shift} is neither report, auto, local, none nor ROWS,COLUMNS in "
                "PAN pixels"
            )

    @property
    def full_scales(self) -> tuple[float, float] | None:
        """Full scale of PAN and of MS; None where `max_value` is not set."""
        value = self.max_value
        return value if value is None or isinstance(value, tuple) else (value, value)

    @property
    def trust(self) -> Trust:
        """What the user allows besides what the names of the images say."""
        return Trust(tuple(self.drivers), self.follow)

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


_FREE = (
    "overwrite",
    "resume",
    "shard",
    "quicklook",
    "rgb",
    "report",
    "view",
    "std",
    "interval",
    "samples",
    "quiet",
    "memory",
    "drivers",
    "follow",
)
"""Options that do not change the output's pixels."""
