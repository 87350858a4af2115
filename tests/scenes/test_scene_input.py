"""Scenes that cannot be fused: one sentence each, exit status 2, and nothing left behind."""

import errno
import io
import shutil

import numpy as np
import pytest
import rasterio
import rasterio.shutil
from scene_files import CORNER, counts, left_behind, write_pair, write_tif

import rsfusion_jax as rsf
from rsfusion_jax.cli.main import run
from rsfusion_jax.errors import UserError
from rsfusion_jax.scenes.product import output
from rsfusion_jax.scenes.work import journal, memory
from rsfusion_jax.scenes.work.journal import Store

OPTIONS = ["--method=gsa", "--samples=0", "--shift=none"]


@pytest.fixture
def pair(tmp_path):
    return [str(path) for path in write_pair(tmp_path, *counts(24, 24))]


def refused(folder, capsys, arguments, *words, options=OPTIONS):
    before = left_behind(folder)
    with pytest.raises(SystemExit) as stop:
        run(["fuse", *map(str, arguments), *options])
    assert stop.value.code == 2
    errors = [line for line in capsys.readouterr().err.splitlines() if "error: " in line]
    assert len(errors) == 1, errors
    assert all(word in errors[0] for word in words), errors[0]
    assert "Traceback" not in errors[0] and errors[0].count(". ") == 0
    assert left_behind(folder) == before


def test_swapped(tmp_path, pair, capsys):
    refused(tmp_path, capsys, [pair[1], pair[0], tmp_path / "o.tif"], "swap PAN and MS")


def test_no_overlap(tmp_path, pair, capsys):
    far = write_tif(tmp_path / "far.tif", counts(24, 24)[1], pixel=2.0, origin=(0, 5000))
    refused(tmp_path, capsys, [pair[0], far, tmp_path / "o.tif"], "no area in common")


def test_missing_coordinate_system(tmp_path, pair, capsys):
    bare = write_tif(tmp_path / "bare.tif", counts(24, 24)[1], pixel=2.0, crs=None)
    out = tmp_path / "o.tif"
    refused(tmp_path, capsys, [pair[0], bare, out], "bare.tif", "no coordinate system", "-a_srs")


def test_other_coordinate_system_refused(tmp_path, pair, capsys):
    other = write_tif(tmp_path / "other.tif", counts(24, 24)[1], pixel=2.0, crs="EPSG:32643")
    out = tmp_path / "o.tif"
    options = [*OPTIONS, "--no-warp"]
    refused(tmp_path, capsys, [pair[0], other, out], "EPSG:32643", "gdalwarp", options=options)


def test_far_zone_has_no_overlap(tmp_path, pair, capsys):
    other = write_tif(tmp_path / "other.tif", counts(24, 24)[1], pixel=2.0, crs="EPSG:32633")
    refused(tmp_path, capsys, [pair[0], other, tmp_path / "o.tif"], "other.tif")


@pytest.mark.parametrize("turn", [(0.2, 0.2), (0.0, None)])
def test_rotated_or_mirrored(tmp_path, pair, capsys, turn):
    down = 2.0 if turn[1] is None else -2.0  # None: south up
    transform = rasterio.Affine(2.0, turn[0], CORNER[0], turn[1] or 0.0, down, CORNER[1])
    wrong = write_tif(tmp_path / "turned.tif", counts(24, 24)[1], pixel=2, transform=transform)
    refused(tmp_path, capsys, [pair[0], wrong, tmp_path / "o.tif"], "rotated or mirrored")


@pytest.mark.parametrize("place", [0, 2, 4, 5])
@pytest.mark.parametrize("number", [float("nan"), float("-inf"), 3e200])
def test_geotransforms_of_nowhere(tmp_path, pair, capsys, place, number):
    numbers = [2.0, 0.0, CORNER[0], 0.0, -2.0, CORNER[1]]
    numbers[place] = number
    transform = rasterio.Affine(*numbers)
    wrong = write_tif(tmp_path / "far.tif", counts(24, 24)[1], pixel=2, transform=transform)
    refused(tmp_path, capsys, [pair[0], wrong, tmp_path / "o.tif"], "geotransform of", "far.tif")


@pytest.mark.parametrize("flag", ["--shift=nan,0", "--shift=0,1e9", "--grid=-inf,nan"])
def test_places_of_nowhere(tmp_path, pair, capsys, flag):
    arguments, words = [*pair, tmp_path / "o.tif"], (flag.split("=")[0], "PAN pixels")
    refused(tmp_path, capsys, arguments, *words, options=[*OPTIONS, flag])


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_a_header_that_claims_too_much(tmp_path, pair, capsys):
    """The file has a few hundred bytes: strips of all rows, none of them there."""
    claim = tmp_path / "claim.tif"
    claimed = {"width": 2_000_000, "height": 2_000_000, "count": 1, "dtype": "uint8"}
    options = {"driver": "GTiff", "sparse_ok": True, "bigtiff": "YES", "blockysize": 2_000_000}
    with rasterio.open(claim, "w", **claimed, **options):
        pass
    assert claim.stat().st_size < 10_000
    refused(tmp_path, capsys, [claim, pair[1], tmp_path / "o.tif"], "2,000,000 x 2,000,000 pixels")


def test_pan_of_three_bands(tmp_path, pair, capsys):
    pan = np.repeat(counts(24, 24)[0], 3, axis=-1)
    wide = write_tif(tmp_path / "wide.tif", pan, pixel=0.5)
    refused(tmp_path, capsys, [wide, pair[1], tmp_path / "o.tif"], "wide.tif has 3 bands")


def test_all_nodata(tmp_path, pair, capsys):
    empty = write_tif(tmp_path / "empty.tif", 0 * counts(24, 24)[1], pixel=2.0, nodata=0)
    refused(tmp_path, capsys, [pair[0], empty, tmp_path / "o.tif"], "holds no valid pixel")


@pytest.mark.parametrize("value", [2e250, float("-inf"), float("nan")])
def test_values_that_cannot_be_computed_with_are_holes(tmp_path, value):
    pan, ms = (image.astype(np.float64) for image in counts(24, 24))
    ms[3, 5] = value
    pan[40, 41] = value
    pair = write_tif(tmp_path / "p.tif", pan, pixel=0.5), write_tif(tmp_path / "m.tif", ms, pixel=2)
    options = {"method": "gsa", "samples": 0, "shift": "none", "quiet": True}
    figures = rsf.fuse_scene(*pair, tmp_path / "o.tif", **options).figures
    assert 1 - 70 / 96**2 < figures["valid"] < 1  # PAN pixels around the two


def test_no_pixel_valid_in_both(tmp_path, capsys):
    pan, ms = counts(24, 24)
    pan[:48], ms[12:] = 0, 0
    pair = write_pair(tmp_path, pan, ms, nodata=0)
    refused(tmp_path, capsys, [*pair, tmp_path / "o.tif"], "no valid pixel in common")


def test_missing_file_and_no_image(tmp_path, pair, capsys):
    out = tmp_path / "o.tif"
    refused(tmp_path, capsys, [tmp_path / "no.tif", pair[1], out], "no.tif does not exist")
    (tmp_path / "text.tif").write_text("no image")
    refused(tmp_path, capsys, [tmp_path / "text.tif", pair[1], out], "cannot be read", "text.tif")


def test_a_tif_that_is_another_format(tmp_path, pair, capsys):
    """A virtual dataset reads the files that it names, so its own name has to say what it is."""
    with rasterio.open(pair[1]) as ms:
        rasterio.shutil.copy(ms, tmp_path / "virtual.vrt", driver="VRT")
    (tmp_path / "virtual.vrt").rename(tmp_path / "plain.tif")
    refused(tmp_path, capsys, [pair[0], tmp_path / "plain.tif", tmp_path / "o.tif"], "plain.tif")


def test_truncated_file(tmp_path, pair, capsys):
    """The header is whole, the last rows are not: found when everything is under way."""
    path = tmp_path / "cut.tif"
    write_tif(path, counts(24, 24)[0], pixel=0.5, blockysize=8)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 3 // 4])
    refused(tmp_path, capsys, [path, pair[1], tmp_path / "o.tif"], "cut.tif", "cannot be read")


def test_complex_pixels(tmp_path, pair, capsys):
    radar = write_tif(tmp_path / "slc.tif", counts(24, 24)[0].astype(np.complex64), pixel=0.5)
    refused(tmp_path, capsys, [radar, pair[1], tmp_path / "o.tif"], "complex64", "real numbers")


def test_outputs_that_cannot_be_written(tmp_path, pair, capsys):
    (tmp_path / "here.tif").write_text("something")
    refused(tmp_path, capsys, [*pair, tmp_path / "here.tif"], "exists already", "--overwrite")
    assert (tmp_path / "here.tif").read_text() == "something"
    refused(tmp_path, capsys, [*pair, tmp_path / "no" / "o.tif"], "folder does not exist")
    refused(tmp_path, capsys, [*pair, tmp_path / "here.tif" / "o.tif"], "folder does not exist")
    refused(tmp_path, capsys, [*pair, tmp_path / "o.png"], "must end with .tif")
    options = [*OPTIONS, "--overwrite"]
    refused(tmp_path, capsys, [*pair, pair[1]], "one of the inputs", options=options)
    options = [*OPTIONS, f"--report={tmp_path}/no/r.json"]
    refused(tmp_path, capsys, [*pair, tmp_path / "o.tif"], "does not exist", options=options)


def test_folder_that_may_not_be_written(tmp_path, pair, capsys, monkeypatch):
    def forbidden(**_):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(output.tempfile, "TemporaryFile", forbidden)
    refused(tmp_path, capsys, [*pair, tmp_path / "o.tif"], "Permission denied")


def test_disk_too_small(tmp_path, pair, capsys, monkeypatch):
    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    refused(tmp_path, capsys, [*pair, tmp_path / "o.tif"], "free", "GB")


def test_disk_full_while_blocks_are_stored(tmp_path, pair, capsys, monkeypatch):
    class FullDisk(io.BytesIO):
        def write(self, _):
            raise OSError(errno.ENOSPC, "No space left on device")

    def on_full_disk(store, opened=journal.Store.open_for_writing):
        opened(store)
        store._file.close()
        store._file = FullDisk()

    monkeypatch.setattr(journal.Store, "open_for_writing", on_full_disk)
    refused(tmp_path, capsys, [*pair, tmp_path / "o.tif"], "No space left on device")


def test_disk_full_while_the_file_is_written(tmp_path, pair, capsys, monkeypatch):
    def full(*_):
        raise rasterio.errors.RasterioIOError("Write failed: no space")

    monkeypatch.setattr(output, "_add_overviews", full)
    refused(tmp_path, capsys, [*pair, tmp_path / "o.tif"], "Write failed")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--method=gsaa"], ["'gsaa' is unknown", "gsa"]),
        (["--method=bdsd_pc"], ["'bdsd_pc'", "sensor"]),
        (["--method=mtf_glp", "--sensor=pleiades_neo"], ["6 bands", "4"]),
        (["--sensor=spot9"], ["'spot9' is unknown"]),
        (["--method=gsa", "--memory=lots"], ["--memory=lots"]),
        (["--method=gsa", "--memory=10MB"], ["too little"]),
        (["--method=gsa", "--bands=3,9"], ["bands 1 to 4"]),
        (["--method=gsa", "--dtype=uint12"], ["--dtype=uint12", "uint16"]),
        (["--method=gsa", "--shard=3/2"], ["--shard=3/2"]),
        (["--method=gsa", "--block=50"], ["--block=50"]),
        (["--method=gsa", "--max-value=-1"], ["--max-value=-1"]),
        (["--weights=no.pth", "--model=pannet"], ["no.pth does not exist"]),
        (["--weights=no.pth"], ["--model"]),
        (["--weights=runs/no"], ["runs/no"]),
        (["--model=pannet"], ["--weights"]),
        (["--compress=zip"], ["compress"]),
        (["--shift=right"], ["shift"]),
    ],
)
def test_wrong_options(tmp_path, pair, capsys, options, words):
    refused(tmp_path, capsys, [*pair, tmp_path / "o.tif"], *words, options=options)


def test_values_that_contradict_the_scale(tmp_path, capsys):
    import jax

    from rsfusion_jax.models import init_params

    model = rsf.create_model("pnn", num_bands=4)
    fuser = rsf.Fuser(model, {"params": init_params(model, jax.random.key(0))}, sensor="qb")
    pan, ms = counts(24, 24)
    options = {"samples": 0, "shift": "none", "quiet": True}
    for factor, words in ((3, "beyond the full scale 2047"), (1 / 2047, "fractions")):
        pair = write_pair(tmp_path, (factor * pan).astype(np.float32), factor * ms)
        with pytest.raises(UserError, match=words):
            rsf.fuse_scene(*pair, tmp_path / "o.tif", fuser=fuser, **options)
        result = rsf.fuse_scene(
            *pair, tmp_path / "o.tif", fuser=fuser, max_value=2047 * factor, **options
        )
        assert result.path.exists()
        result.path.unlink()
    small = write_pair(tmp_path, pan, ms[..., :3])
    with pytest.raises(UserError, match="has 3 bands, the weights take 4"):
        rsf.fuse_scene(*small, tmp_path / "o.tif", fuser=fuser, **options)
    coarse = write_pair(tmp_path, pan, ms[:12, :12], ratio=8)
    with pytest.raises(UserError, match="work at ratio 4"):
        rsf.fuse_scene(*coarse, tmp_path / "o.tif", fuser=fuser, **options)
    with pytest.raises(UserError, match="choose one"):
        rsf.fuse_scene(
            *write_pair(tmp_path, pan, ms), tmp_path / "o.tif", fuser=fuser, method="gsa"
        )
    with pytest.raises(UserError, match="option 'colour'"):
        rsf.fuse_scene(*small, tmp_path / "o.tif", colour=True)


def test_journal_of_another_run_is_refused(tmp_path):
    header = {"run": {"method": "gsa", "sensor": None}, "resumed": {"side": 64}}
    store = Store(tmp_path / "p", tmp_path / "j", header)
    store.open_for_writing()
    store.write(0, [b"abc", b"defgh"], {"valid": 8})
    store.close()
    with (tmp_path / "j").open("a") as file:
        file.write('{"block": 1, "val')  # killed while the line was written
    again = Store(tmp_path / "p", tmp_path / "j", {**header, "resumed": {}})
    assert again.recall() and again.header == header
    assert set(again.lines) == {0} and again.complete([0]) and not again.complete([0, 1])
    assert again.tiles(0) == [b"abc", b"defgh"]
    other = {"run": {"method": "gs", "sensor": None}, "resumed": {}}
    other = Store(tmp_path / "p", tmp_path / "j", other)
    with pytest.raises(UserError, match=r"another method \(gsa, now gs\)"):
        other.recall()


class Accelerator:
    """A stand-in for a device with memory of its own."""

    platform, device_kind = "gpu", "stand-in GPU"

    def __init__(self, free=None):
        self.stats = None if free is None else {"bytes_limit": free + 1000, "bytes_in_use": 1000}

    def memory_stats(self):
        return self.stats


class Planned(Exception):
    """Raised in place of fusing."""


def test_windows_fit_the_memory_of_the_device(tmp_path, pair, monkeypatch):
    needed = []

    def plan_work(*arguments, original=memory.plan_work):
        raise Planned(original(*arguments))

    def count(*arguments, original=memory._needed):
        needed.append(original(*arguments)[1])
        return original(*arguments)

    def planned(free, **options):
        monkeypatch.setattr(memory, "device_of", lambda *arguments: Accelerator(free))
        options |= {"method": "brovey", "shift": "none", "samples": 0, "quiet": True}
        with pytest.raises(Planned) as stop:
            rsf.fuse_scene(*pair, tmp_path / "o.tif", **options)
        plan = stop.value.args[0]
        return plan.windows.side, plan.batch_size

    monkeypatch.setattr(memory, "plan_work", plan_work)
    monkeypatch.setattr(memory, "_needed", count)
    assert planned(None) == (512, 8)
    eight = needed[-1]
    assert planned(eight) == (512, 8) and planned(eight - 1) == (512, 4)
    assert planned(eight // 10)[0] < 512 and needed[-1] <= eight // 10
    for free, options in ((1000, {}), (eight - 1, {"block": 512, "batch": 8})):
        with pytest.raises(UserError, match=r"memory of stand-in GPU .*; give a smaller --block"):
            planned(free, **options)
    assert memory.free_memory(Accelerator()) == 4 * 2**30


def test_amounts_of_memory():
    assert memory.parse_memory("2GB") == 2 * 2**30 == memory.parse_memory("2048 MB")
    assert memory.parse_memory("1.5g") == 3 * 2**29 and memory.parse_memory(1000) == 1000
    with pytest.raises(UserError, match="2GB"):
        memory.parse_memory("2 gigs")
