"""What a product gives: its PAN, its MS, and which bands are fused unless the user says others."""

import dataclasses

from rsfusion_jax.scenes.pair.source import Source


@dataclasses.dataclass(frozen=True)
class Product:
    """A product as its provider delivers it.

    Attributes:
        title: what it is, for messages.
        pan: the guide, of one or several bands.
        ms: the image to sharpen.
        bands: bands of `ms` to fuse, from 1; None for all.
        others: further images to sharpen, each into a file of its own, by what the file's name
            gets.
        notices: messages for the user.
    """

    title: str
    pan: Source
    ms: Source
    bands: tuple[int, ...] | None = None
    others: dict[str, Source] = dataclasses.field(default_factory=dict)
    notices: tuple[str, ...] = ()
