"""The page from this machine to its own browser, its tiles read from the files as they are shown.

Only numbers enter an address, and they only choose among the layers that are open: no address leads
to a file.
"""

import re
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np

from rsfusion_jax.errors import UserError
from rsfusion_jax.scenes.viewer.layers import Layer
from rsfusion_jax.scenes.viewer.tiles import SIDE, encode_tile

_NUMBER = r"(\d{1,9})"
_TILE = re.compile("/tile" + f"/{_NUMBER}" * 5)
_PIXEL = re.compile("/pixel" + f"/{_NUMBER}" * 3)


class PageServer(ThreadingHTTPServer):
    """Serves one page and its tiles on 127.0.0.1.

    Args:
        page: the HTML.
        layers: the open layers.
        port: port to listen on; 0 for any free one.

    Raises:
        UserError: the port is in use, or may not be used.
    """

    daemon_threads = True

    def __init__(self, page: str, layers: list[Layer], port: int = 0):
        self.page, self.layers = page.encode(), layers
        try:
            super().__init__(("127.0.0.1", port), _Handler)
        except (OSError, OverflowError) as error:
            raise UserError(
                f"--port={port} cannot be used ({error}); choose another one, or leave it out for "
                "any free one"
            ) from error

    @property
    def address(self) -> str:
        """What to open in a browser."""
        return f"http://127.0.0.1:{self.server_port}/"

    def handle_error(self, request, client_address) -> None:
        """Say nothing: a browser closes connections whose tiles left the screen."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args) -> None:
        pass

    def do_GET(self) -> None:
        # A page of elsewhere whose name was made to lead to this machine must not read the images.
        own = {f"{name}:{self.server.server_port}" for name in ("127.0.0.1", "localhost")}
        if self.headers.get("Host") not in own:
            self._answer(403, "text/plain", b"ask for http://127.0.0.1")
            return
        tile, pixel = _TILE.fullmatch(self.path), _PIXEL.fullmatch(self.path)
        try:
            if self.path == "/":
                self._answer(200, "text/html; charset=utf-8", self.server.page)
            elif tile:
                self._answer(200, "application/octet-stream", self._tile(*map(int, tile.groups())))
            elif pixel:
                self._answer(
                    200, "application/octet-stream", self._pixel(*map(int, pixel.groups()))
                )
            else:
                raise LookupError
        except LookupError:
            self._answer(404, "text/plain", b"there is nothing of this name")
        except UserError as error:
            self._answer(500, "text/plain; charset=utf-8", str(error).encode(errors="replace"))

    def _tile(self, index: int, level: int, row: int, column: int, band: int) -> bytes:
        layer = self.server.layers[index]
        if level >= layer.levels or band >= len(layer.bands):
            raise LookupError
        height, width = layer.level_size(level)
        if row * SIDE >= height or column * SIDE >= width:
            raise LookupError
        values, valid = layer.tile(level, row, column, [band])
        return encode_tile(values[0], valid[0])

    def _pixel(self, index: int, row: int, column: int) -> bytes:
        layer = self.server.layers[index]
        if row >= layer.size[0] or column >= layer.size[1]:
            raise LookupError
        values, valid = layer.pixel(row, column)
        return encode_tile(values[np.newaxis], valid[np.newaxis])

    def _answer(self, status: int, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.end_headers()
        self.wfile.write(body)
