"""The server of a page: the files' values, and nothing else of this machine."""

import contextlib
import http.client

import numpy as np
import pytest
from scene_files import read, write_tif
from view_scenes import decoded, described, served, write_scene


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    return write_scene(tmp_path_factory.mktemp("scene"), size=(300, 270), bands=3, nodata=0)


@pytest.fixture(scope="module")
def ask(scene):
    with serving(scene) as answer:
        yield answer


@contextlib.contextmanager
def serving(scene):
    """Yields a function that asks the server of a scene."""
    with served(*scene) as server:

        def answer(path, host=None, method="GET"):
            place = "127.0.0.1", server.server_port
            with contextlib.closing(http.client.HTTPConnection(*place)) as connection:
                connection.request(method, path, headers={} if host is None else {"Host": host})
                with connection.getresponse() as response:
                    return response.status, response.read()

        yield answer


def test_tiles_and_pixels_are_those_of_the_files(ask, scene):
    status, page = ask("/")
    layers = described(page.decode())["layers"]
    assert status == 200 and [layer["finest"] for layer in layers] == [0, 0, 0]
    for index, path in enumerate(scene):
        image = read(path)[0]
        status, data = ask(f"/tile/{index}/0/0/0/{image.shape[-1] - 1}")
        cut = image[:256, :256, -1]
        assert status == 200
        np.testing.assert_array_equal(decoded(data, image.dtype, *cut.shape)[0], cut)
        status, data = ask(f"/pixel/{index}/7/5")
        assert status == 200
        values, _ = decoded(data, image.dtype, 1, image.shape[-1])
        np.testing.assert_array_equal(values[0], image[7, 5])
    image = read(scene[0])[0]
    cut = image[256:, 256:, 1]
    np.testing.assert_array_equal(decoded(ask("/tile/0/0/1/1/1")[1], "uint16", 44, 14)[0], cut)
    reduced, _ = decoded(ask("/tile/0/1/0/0/0")[1], "uint16", 150, 135)
    means = image[..., 0].reshape(150, 2, 135, 2).mean((1, 3))
    assert np.abs(reduced - means).max() <= 0.5


@pytest.mark.parametrize(
    "path",
    [
        "/index.html",
        "/tile/3/0/0/0/0",
        "/tile/0/9/0/0/0",
        "/tile/0/0/2/0/0",
        "/tile/0/0/0/2/0",
        "/tile/0/0/0/0/3",
        "/tile/0/0/0/0/-1",
        "/tile/0/0/0/0/0/",
        "/tile/0/0/0/0/0?x",
        "/tile/0/0/0/0/9999999999999999999",
        "/tile/0/0/0/0/%30",
        "/pixel/0/300/0",
        "/pixel/1/0/274",
        "/../../../etc/passwd",
        "/tile/../../etc/passwd",
        "/%2e%2e/%2e%2e/etc/passwd",
        "//etc/passwd",
        "/tile/0/0/0/0/0/../../../../../../etc/passwd",
        "/out.tif",
    ],
)
def test_there_is_nothing_else(ask, path):
    assert ask(path) == (404, b"there is nothing of this name")


def test_other_hosts_and_methods_are_refused(ask):
    assert ask("/", host="example.org")[0] == 403
    assert ask("/tile/0/0/0/0/0", host="127.0.0.1.example.org:80")[0] == 403
    assert ask("/", method="POST")[0] == 501


def test_a_file_that_breaks_is_said(tmp_path):
    image = np.random.default_rng(0).integers(0, 99, (900, 100, 1), np.uint8)
    path = write_tif(tmp_path / "long.tif", image, pixel=1.0, blockysize=1)
    with serving([path]) as ask:
        with open(path, "r+b") as file:
            file.truncate(30_000)
        status, text = ask("/tile/0/0/2/0/0")
        assert status == 500 and b"cannot be read as an image" in text
        assert ask("/tile/0/0/0/0/0")[0] == 200
