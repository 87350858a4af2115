"""Coordinate systems: the horizontal part of one that has heights too."""

import re

from rasterio import CRS

_TOKENS = re.compile(r'"[^"]*"|[\[\]]')


def horizontal(crs: CRS | None) -> CRS | None:
    """The horizontal part of a compound coordinate system; any other one as it is.

    Images lie side by side by it alone: heights above a geoid change no pixel's place.
    """
    text = None if crs is None else crs.to_wkt()
    if text is None or not text.startswith("COMPD_CS["):
        return crs
    # COMPD_CS["name",PROJCS[...],VERT_CS[...]]: the first part ends where its brackets do.
    begin, depth = text.index('",') + 2, 0
    for token in _TOKENS.finditer(text, begin):
        depth += {"[": 1, "]": -1}.get(token[0], 0)
        if token[0] == "]" and depth == 0:
            return CRS.from_wkt(text[begin : token.end()])
    return crs
