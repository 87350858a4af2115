"""A web server on this machine that answers requests for parts of files, as object stores do."""

import contextlib
import functools
import http.server
import pathlib
import re
import subprocess
import sys


class _Handler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass

    def do_HEAD(self):
        self._answer(body=False)

    def do_GET(self):
        self._answer(body=True)

    def _answer(self, body):
        try:
            with open(self.translate_path(self.path), "rb") as file:
                data = file.read()
        except OSError:
            self.send_error(404)
            return
        part = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        size = len(data)
        if part:
            first, last = int(part[1]), min(int(part[2] or size), size - 1)
            data = data[first : last + 1]
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {first}-{last}/{size}")
        else:
            self.send_response(200)
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if body:
            print(self.path, len(data), file=sys.stderr, flush=True)
            self.wfile.write(data)


def main(folder):
    handler = functools.partial(_Handler, directory=folder)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        print(server.server_port, flush=True)
        server.serve_forever()


@contextlib.contextmanager
def serve(folder):
    """Yields the address, and a function that counts the bytes sent of a file.

    Another process serves: GDAL waits for answers while it holds Python's lock.
    """
    log = pathlib.Path(folder) / "served.log"
    command = [sys.executable, __file__, str(folder)]
    with (
        log.open("w") as errors,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True) as server,
    ):
        try:
            address = f"http://127.0.0.1:{int(server.stdout.readline())}"

            def sent(path):
                lines = [line.split() for line in log.read_text().splitlines()]
                return sum(int(size) for name, size in lines if name == path)

            yield address, sent
        finally:
            server.terminate()


if __name__ == "__main__":
    main(sys.argv[1])
