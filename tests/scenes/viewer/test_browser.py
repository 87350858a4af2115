"""The page in headless Chromium, where there is one: layers load, the boundary moves, values."""

import shutil

import numpy as np
import pytest
import rasterio
from scene_files import read, write_tif
from view_scenes import served, write_scene

import rsfusion_jax as rsf

_CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
_sync_api = pytest.importorskip("playwright.sync_api")
pytestmark = pytest.mark.skipif(_CHROMIUM is None, reason="no Chromium on this machine")


@pytest.fixture(scope="module")
def browser():
    with _sync_api.sync_playwright() as playwright:
        # Without a sandbox: root, as which CI runs, has none.
        browser = playwright.chromium.launch(executable_path=_CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def open_page(browser):
    pages, errors = [], []

    def opened(address):
        page = browser.new_page(viewport={"width": 1000, "height": 600})
        pages.append(page)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("request", lambda request: errors.append(request.url) if remote(request) else None)
        page.goto(address)
        page.wait_for_selector("body[data-drawn]")
        return page

    def remote(request):
        return not request.url.startswith(("file:", "data:", "http://127.0.0.1"))

    yield opened
    for page in pages:
        assert page.inner_text("#status") == ""
        page.close()
    assert errors == []


def shown(page, x, y):
    """The colour (red, green, blue, alpha) at a place of the map, in screen pixels."""
    return page.evaluate(
        """([x, y]) => {
          const tiles = [...document.querySelectorAll("#map canvas")].filter((canvas) => {
            const box = canvas.getBoundingClientRect(), clip = canvas.closest(".leaflet-layer");
            const [top, right, bottom, left] = clip.style.clip.match(/-?[\\d.]+/g).map(Number);
            const origin = clip.parentElement.getBoundingClientRect();
            const inside = x - origin.left >= left && x - origin.left < right;
            return inside && x >= box.left && x < box.right && y >= box.top && y < box.bottom;
          });
          if (tiles.length !== 1) return tiles.length;
          const box = tiles[0].getBoundingClientRect();
          const at = [Math.floor(x - box.left), Math.floor(y - box.top)];
          return [...tiles[0].getContext("2d").getImageData(...at, 1, 1).data];
        }""",
        [x, y],
    )


def shown_at_last(page, x, y, holds):
    """The colour there as soon as it holds: tiles are drawn when the machine finds time."""
    for _ in range(50):
        colour = shown(page, x, y)
        if np.ndim(colour) and holds(colour):
            break
        page.wait_for_timeout(200)
    return colour


def center(page):
    return page.evaluate(
        "(() => { const p = viewer.map.latLngToContainerPoint([-100, 100]); return [p.x, p.y]; })()"
    )


def test_half_widths_are_not_subtracted(tmp_path, open_page):
    out, pan, ms = write_scene(tmp_path, size=(80, 80))
    half = write_tif(tmp_path / "half.tif", np.ones((80, 80, 4), np.float32), pixel=0.5)
    with rasterio.open(half, "r+") as file:
        file.update_tags(RSFUSION_INTERVAL="90")
    page = open_page(rsf.view(out, pan, ms, half).as_uri())
    titles = page.evaluate("viewer.layers.map((layer) => layer.title)")
    assert titles[3:4] + titles[5:] == ["half width: half.tif", "difference: fused - EXP"]


def test_layers_load_and_the_boundary_moves(tmp_path, open_page):
    out, pan, ms = write_scene(tmp_path, size=(200, 200))
    page = open_page(rsf.view(out, pan, ms).as_uri())
    titles = page.evaluate("viewer.layers.map((layer) => layer.title)")
    assert [title.split(":")[0] for title in titles] == ["fused", "PAN", "MS", "EXP", "difference"]
    page.select_option("[aria-label='Left layer']", "1")
    x, y = center(page)
    page.evaluate("viewer.swipe(0.9)")
    grey = lambda colour: colour[3] == 255 and len({*colour[:3]}) == 1  # noqa: E731
    colours = {"left": shown_at_last(page, x + 0.5, y + 0.5, grey)}
    page.evaluate("viewer.swipe(0.1)")
    colours["right"] = shown(page, x + 0.5, y + 0.5)
    red, green, blue, alpha = colours["left"]
    assert alpha == 255 and red == green == blue  # PAN
    assert colours["right"][3] == 255 and len({*colours["right"][:3]}) > 1
    # By the mouse, too.
    box = page.locator("#divider").bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, 100)
    page.mouse.down()
    page.mouse.move(400, 100)
    page.mouse.up()
    width = page.evaluate("viewer.map.getSize().x")
    moved = page.locator("#divider").bounding_box()
    assert abs(moved["x"] + moved["width"] / 2 - 400) < 2 and width > 500
    assert page.get_attribute("#divider", "aria-valuenow") == str(round(100 * 400 / width))


def test_values_under_the_cursor_are_those_of_the_files(tmp_path, open_page):
    files = write_scene(tmp_path, size=(300, 280), dtype=np.float32, bands=5)
    page = open_page(rsf.view(*files).as_uri())
    out, pan, ms = (read(path)[0] for path in files)
    for row, column in ((0, 0), (17, 3), (260, 270), (299, 279)):
        found = page.evaluate(
            "async ([row, column]) => (await viewer.valuesAt(row + 0.5, column + 0.5))"
            ".map(({ layer, values }) => [layer.role, values])",
            [row, column],
        )
        values = dict(found)
        np.testing.assert_array_equal(values["fused"], out[row, column])
        np.testing.assert_array_equal(values["PAN"], pan[row + 8, column + 4])
        place = (row + 0.5 - 1) // 4, (column + 0.5 - 2) // 4
        if all(0 <= at < size for at, size in zip(place, ms.shape, strict=False)):
            np.testing.assert_array_equal(values["MS"], ms[int(place[0]), int(place[1])])
            difference = np.subtract(values["fused"], values["EXP"])
            np.testing.assert_allclose(values["difference"], difference, rtol=1e-6)
    x, y = center(page)
    page.mouse.move(x, y)
    page.wait_for_selector("#values tr:nth-child(6)")
    cells = page.inner_text("#values").split("\n")[1].split("\t")
    assert np.float32(cells[1]) == out[100, 100, 0] and np.float32(cells[2]) == pan[108, 104, 0]
    assert page.locator("#spectrum polyline").count() == 3
    assert "row 100, column 100; x 400050.0" in page.inner_text("#place")


def test_a_served_page_reads_the_files(tmp_path, open_page):
    files = write_scene(tmp_path, size=(300, 280), dtype=np.int64, bands=2)
    out, pan, _ = (read(path)[0] for path in files)
    with served(*files) as server:
        page = open_page(server.address)
        found = page.evaluate(
            "async () => (await viewer.valuesAt(270.5, 3.5)).slice(0, 2)"
            ".map(({ values }) => values.map(String))"
        )
        assert [list(map(int, values)) for values in found] == [[*out[270, 3]], [*pan[278, 7]]]
        x, y = center(page)
        page.evaluate("viewer.swipe(0)")
        assert shown(page, x, y)[3] == 255


def test_an_enlarged_ramp_stays_a_ramp(tmp_path, open_page):
    """EXP lies where MS does: cubic convolution reproduces straight lines."""
    out, _, ms = write_scene(tmp_path, size=(64, 64), bands=2, dtype=np.float64)
    rows, columns = np.mgrid[:16, :16]
    ramp = np.stack([rows, columns], axis=-1).astype(np.float64)
    write_tif(ms, ramp, pixel=2.0, origin=(0.5, 1.0))
    page = open_page(rsf.view(out, ms).as_uri())
    found = page.evaluate(
        "async () => (await viewer.valuesAt(20.5, 33.5)).find((one) => one.layer.role === 'EXP')"
        ".values"
    )
    np.testing.assert_allclose(found, [(20.5 - 1) / 4 - 0.5, (33.5 - 2) / 4 - 0.5])


def test_nodata_is_transparent_and_bands_are_chosen(tmp_path, open_page):
    image = np.full((256, 256, 2), 100, np.uint16)
    image[..., 1] = np.arange(256)
    image[:128] = 0
    path = write_tif(tmp_path / "a.tif", image, pixel=1.0, nodata=0)
    page = open_page(rsf.view(path).as_uri())
    x, y = center(page)
    assert shown(page, x, y)[3] == 0
    assert shown(page, x, y + 60)[3] == 255
    page.evaluate("viewer.layers[0].shown = [1, 1, 1]; viewer.layers[0].limits = [0, 255]")
    page.evaluate("viewer.redraw(viewer.layers[0])")
    red = image[160, 100, 1]
    assert shown_at_last(page, x + 0.5, y + 60.5, lambda colour: colour[0] == red)[0] == red
