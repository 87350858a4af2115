"""SEN12MS-CR folders: names, partners, splits, decibels and counts, holes, both tasks."""

import pickle
import re

import numpy as np
import pytest
import writers

from configs import data_sets, default
from rsfusion_jax.cli.main import run
from rsfusion_jax.data.configured import open_split
from rsfusion_jax.data.doctor.doctor import examine
from rsfusion_jax.data.pipeline import train_dataset
from rsfusion_jax.data.sen12ms_cr import open_sen12ms_cr
from rsfusion_jax.data.sen12ms_cr.files import Patch, list_patches, scene_splits
from rsfusion_jax.data.sen12ms_cr.normalisation import Normalisation
from rsfusion_jax.data.stored.check import DataWarning
from rsfusion_jax.errors import UserError
from rsfusion_jax.evaluation.evaluate import evaluate

pytestmark = pytest.mark.filterwarnings("error::rsfusion_jax.data.stored.check.DataWarning")

SPRING, SUMMER, WINTER = "ROIs1158_spring", "ROIs1868_summer", "ROIs2017_winter"
SCENES = [(SPRING, 1), (SPRING, 106), (SUMMER, 17), (WINTER, 63), (WINTER, 8)]
"""Two for training, one for validation, two for testing."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A sound folder and what it holds; not to be changed."""
    root = tmp_path_factory.mktemp("SEN12MS-CR")
    return root, writers.write_sen12(root, SCENES)


def hwc(image):
    return np.moveaxis(image, 0, -1).astype(np.float64)


def optical(image, limit=10000):
    return hwc(image).clip(0, limit) / limit


def test_names_and_the_published_split(folder):
    root, written = folder
    listing = list_patches(root)
    assert [tuple(patch) for patch in listing.complete] == sorted(written)
    assert not listing.complaint()
    splits = scene_splits(listing.complete, "official", seed=0)
    # Whole names: scene 106 is tested on although scene 1 is trained on.
    assert splits == {
        (SPRING, 1): "train",
        (SPRING, 106): "test",
        (SUMMER, 17): "valid",
        (WINTER, 8): "train",
        (WINTER, 63): "test",
    }
    counts = {
        split: len(open_sen12ms_cr(root, split=split)) for split in ("train", "valid", "test")
    }
    assert counts == {"train": 4, "valid": 2, "test": 4}
    every = [Patch(season, scene, 1) for season in (SPRING, SUMMER, WINTER) for scene in range(150)]
    every += [Patch("ROIs1970_fall", scene, 1) for scene in range(150)]
    official = list(scene_splits(every, "official", 0).values())
    assert official.count("valid") == official.count("test") == 10


def test_scenes_can_be_drawn(folder):
    patches = [Patch(SPRING, scene, number) for scene in range(40) for number in range(3)]
    splits = scene_splits(patches, "scenes", seed=3)
    assert splits == scene_splits(patches[::-1], "scenes", seed=3)
    assert splits != scene_splits(patches, "scenes", seed=4)
    drawn = list(splits.values())
    assert (drawn.count("train"), drawn.count("valid"), drawn.count("test")) == (32, 4, 4)
    sets = [
        open_sen12ms_cr(folder[0], split=split, split_rule="scenes", seed=1)
        for split in ("train", "valid", "test")
    ]
    assert [len(source) for source in sets] == [6, 2, 2]


def test_cloud_removal(folder):
    root, written = folder
    source = open_sen12ms_cr(root, split="test")
    info = source.info
    assert (info.num_bands, info.guide_bands, info.ratio, info.ms_phase) == (13, 2, 1, 0.0)
    assert (info.max_value, info.has_gt) == (10000.0, True)
    assert info.name == "SEN12MS-CR test, cloud_removal, sen12mscr"
    files = written[SPRING, 106, 31]
    sample = source[1]
    assert sample.keys() == {"pan", "ms", "lms", "gt"}
    assert all(a.dtype == np.float32 and a.flags.c_contiguous for a in sample.values())
    np.testing.assert_allclose(sample["gt"], optical(files["s2"]), atol=1e-6)
    np.testing.assert_allclose(sample["ms"], optical(files["s2_cloudy"]), atol=1e-6)
    assert files["s2_cloudy"].max() > 10000 and sample["ms"].max() == 1  # so something was clipped
    np.testing.assert_array_equal(sample["lms"], sample["ms"])
    assert sample["lms"] is not sample["ms"]
    radar = hwc(files["s1"])
    expected = np.stack([radar[..., 0] / 25 + 1, radar[..., 1] / 32.5 + 1], axis=-1).clip(0, 1)
    np.testing.assert_allclose(sample["pan"], expected, atol=1e-5)
    assert (sample["pan"][0, 0] == 1).all() and (sample["pan"][0, 1] == 0).all()
    with pytest.raises(IndexError, match="holds 4 patches"):
        source[4]


def test_normalisations(folder):
    root, written = folder
    radar = hwc(written[SUMMER, 17, 30]["s1"])
    both = open_sen12ms_cr(root, split="valid", normalisation="uncrtaints")[0]["pan"]
    np.testing.assert_allclose(both, (radar / 25 + 1).clip(0, 1), atol=1e-5)
    own = Normalisation("own", (-20.0, 5.0), (-30.0, -10.0), 4000.0)
    source = open_sen12ms_cr(root, split="valid", normalisation=own)
    sample = source[0]
    assert source.info.max_value == 4000 and source.info.name.endswith("own")
    np.testing.assert_allclose(sample["pan"][..., 1], ((radar[..., 1] + 30) / 20).clip(0, 1), 1e-4)
    expected = optical(written[SUMMER, 17, 30]["s2"], 4000)
    np.testing.assert_allclose(sample["gt"], expected, atol=1e-6)
    for change in ({"vv": (0.0, -25.0)}, {"vh": (-25.0,)}, {"s2_max": 0.0}):
        with pytest.raises(UserError, match=f"'own': {next(iter(change))}="):
            Normalisation(**{"name": "own", "vv": (-1, 0), "vh": (-1, 0), "s2_max": 1.0, **change})


def test_sar_sharpening(folder):
    root, written = folder
    source = open_sen12ms_cr(root, split="test", task="sar_sharpening")
    info, sample = source.info, source[3]
    assert info.sensor.bands == ("B2", "B3", "B4", "B8") and info.sensor.rgb == (2, 1, 0)
    assert (info.ratio, info.ms_phase, info.num_bands, info.guide_bands) == (4, 2.0, 4, 2)
    assert {key: array.shape for key, array in sample.items()} == {
        "pan": (32, 32, 2),
        "ms": (8, 8, 4),
        "lms": (32, 32, 4),
        "gt": (32, 32, 4),
    }
    clear = optical(written[WINTER, 63, 31]["s2"])
    np.testing.assert_allclose(sample["gt"], clear[..., [1, 2, 3, 7]], atol=1e-6)
    np.testing.assert_allclose(sample["lms"][2::4, 2::4], sample["ms"], atol=1e-6)
    means = sample["ms"].mean(axis=(0, 1)), sample["gt"].mean(axis=(0, 1))
    np.testing.assert_allclose(*means, rtol=0.05)
    assert sample["ms"].std() < sample["gt"].std()
    chosen = open_sen12ms_cr(
        root, split="test", task="sar_sharpening", ratio=2, bands=["B11", "B2"]
    )
    assert chosen[0]["ms"].shape == (16, 16, 2) and chosen.info.sensor.rgb == (0, 0, 0)


def test_sharpening_needs_no_clouded_image(tmp_path):
    writers.write_sen12(tmp_path, [(SPRING, 1)])
    for path in tmp_path.glob("*_s2_cloudy/*/*.tif"):
        path.unlink()
    assert len(open_sen12ms_cr(tmp_path, split="train", task="sar_sharpening")) == 2
    with pytest.raises(UserError, match=r"no patch has all of s1, s2, s2_cloudy \(2 without s2_cl"):
        open_sen12ms_cr(tmp_path, split="train")


def test_missing_partners_are_counted_and_named(tmp_path):
    writers.write_sen12(tmp_path, [(SPRING, 1)], patches=4)
    writers.sen12_path(tmp_path, "s2", SPRING, 1, 31).unlink()
    writers.sen12_path(tmp_path, "s1", SPRING, 1, 33).unlink()
    message = r"1 without s1, as ROIs1158_spring_1_p33; 1 without s2, as ROIs1158_spring_1_p31$"
    with pytest.warns(DataWarning, match=message) as caught:
        assert len(open_sen12ms_cr(tmp_path, split="train")) == 2
    assert caught[0].filename == __file__


def test_holes_are_filled_or_left_out(tmp_path):
    written = writers.write_sen12(tmp_path, [(SPRING, 1)], patches=4)
    radar = written[SPRING, 1, 30]["s1"].copy()
    radar[1, 5:7, 8] = np.nan
    writers.write_tif(writers.sen12_path(tmp_path, "s1", SPRING, 1, 30), radar)
    clear = written[SPRING, 1, 31]["s2"].copy()
    clear[:, :, -1] = 0  # Sentinel-2's nodata, without a tag
    writers.write_tif(writers.sen12_path(tmp_path, "s2", SPRING, 1, 31), clear)
    tagged = written[SPRING, 1, 32]["s1"].copy()
    tagged[:] = -9999
    path = writers.sen12_path(tmp_path, "s1", SPRING, 1, 32)
    writers.write_tif(path, tagged, nodata=-9999)
    source = open_sen12ms_cr(tmp_path, split="train")
    assert len(source) == 4
    for sample in source:
        assert all(np.isfinite(image).all() for image in sample.values())
    pan = source[0]["pan"]
    # Both channels of a hole come from one neighbour.
    assert any((pan[5, 8] == pan[5, column]).all() for column in (7, 9))
    gt = source[1]["gt"]
    np.testing.assert_array_equal(gt[:, -1], gt[:, -2])
    assert (source[2]["pan"] == 0).all()
    with pytest.warns(DataWarning, match=r"3 of 4 patches have holes .* as ROIs1158_spring_1_p30$"):
        kept = open_sen12ms_cr(tmp_path, split="train", holes="leave_out")
    assert len(kept) == 1
    np.testing.assert_allclose(kept[0]["gt"], optical(written[SPRING, 1, 33]["s2"]), atol=1e-6)


@pytest.mark.parametrize("task", ["cloud_removal", "sar_sharpening"])
def test_through_the_pipeline(folder, task):
    source = open_sen12ms_cr(folder[0], split="train", task=task)
    assert len(pickle.dumps(source)) < 5000
    options = {"batch_size": 4, "patch_size": 16, "seed": 1, "crops_per_sample": 2}
    batches = {}
    for workers in (0, 1):
        iterator = iter(train_dataset(source, workers=workers, threads=1, **options))
        batches[workers] = [next(iterator) for _ in range(3)]
        getattr(iterator, "close", lambda: None)()
    ratio, bands = source.info.ratio, source.info.num_bands
    for one, other in zip(*batches.values(), strict=True):
        assert {key: array.shape for key, array in one.items()} == {
            "pan": (4, 16, 16, 2),
            "ms": (4, 16 // ratio, 16 // ratio, bands),
            "lms": (4, 16, 16, bands),
            "gt": (4, 16, 16, bands),
        }
        for key in one:
            np.testing.assert_array_equal(one[key], other[key])


def _rewrite(kind, change, **options):
    def apply(root, written):
        image = change(written[SPRING, 1, 30][kind])
        writers.write_tif(writers.sen12_path(root, kind, SPRING, 1, 30), image, **options)

    return apply


def _cut(root, written):
    path = writers.sen12_path(root, "s2", SPRING, 1, 30)
    path.write_bytes(path.read_bytes()[:500])


BROKEN = {
    "power": (
        _rewrite("s1", lambda a: (10 ** (a / 10)).astype(np.float32)),
        r"s1_1_p30.tif: VV has a median of 0.\d+, expected dB below 0; convert",
    ),
    "reflectance": (
        _rewrite("s2", lambda a: (a / 10000).astype(np.float32)),
        r"s2_1_p30.tif: values end at \S+, expected counts .* multiply",
    ),
    "rgb": (_rewrite("s2", lambda a: a[:3]), r"p30.tif has 3 bands, expected the 13 of s2; downl"),
    "size": (
        _rewrite("s2_cloudy", lambda a: a[:, :16]),
        r"_spring_1_p30 are of different sizes \(s1 32x32, s2 32x32, s2_cloudy 16x32\), .* delete",
    ),
    "cut": (_cut, r"p30.tif cannot be read as GeoTIFF .* copy it again"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_broken_files_are_refused_in_one_sentence(tmp_path, case):
    change, message = BROKEN[case]
    change(tmp_path, writers.write_sen12(tmp_path, [(SPRING, 1)]))
    with pytest.raises(UserError, match=message) as caught:
        list(open_sen12ms_cr(tmp_path, split="train"))
    assert "\n" not in str(caught.value)


def test_swapped_polarisations_warn(tmp_path):
    written = writers.write_sen12(tmp_path, [(SPRING, 1)], patches=1)
    _rewrite("s1", lambda a: a[::-1])(tmp_path, written)
    with pytest.warns(DataWarning, match=r"in 1 of 1 .* second radar channel is brighter .* swap"):
        open_sen12ms_cr(tmp_path, split="train")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"split": "val"}, r"split='val' is unknown; choose one of train, valid, test"),
        ({"task": "fusion"}, r"task='fusion' .* cloud_removal, sar_sharpening"),
        ({"holes": "ignore"}, r"holes='ignore' .* fill, leave_out"),
        ({"split_rule": "random"}, r"split_rule='random' .* official, scenes"),
        ({"normalisation": "unit"}, r"'unit' is unknown; choose one of sen12mscr, uncrtaints"),
        ({"bands": ("B2", "B13")}, r"'B13' is no selection .* choose from B1, B2, .* once"),
        ({"bands": ("B2", "B2")}, r"'B2, B2' is no selection"),
        ({"ratio": 4}, r"ratio=4 does not belong to task='cloud_removal'; cloud_removal has 1"),
        ({"task": "sar_sharpening", "ratio": 1}, r"ratio=1 does not belong"),
    ],
)
def test_mistakes_are_named(folder, options, message):
    with pytest.raises(UserError, match=message):
        open_sen12ms_cr(folder[0], **{"split": "train", **options})


def test_folders_that_are_something_else(tmp_path, folder):
    with pytest.raises(UserError, match=r"absent is no folder; give the one that holds ROIs1158"):
        open_sen12ms_cr(tmp_path / "absent", split="train")
    with pytest.raises(UserError, match=r"holds no patch of SEN12MS-CR, expected files like ROIs"):
        open_sen12ms_cr(tmp_path, split="train")
    with pytest.raises(UserError, match=r"holds no patch"):  # one level too deep
        open_sen12ms_cr(folder[0] / f"{SPRING}_s1", split="train")
    writers.write_sen12(tmp_path, [(SPRING, 1)], patches=1)
    with pytest.raises(UserError, match=r"none of its 1 scenes .* 'test' .* split_rule='scenes'"):
        open_sen12ms_cr(tmp_path, split="test")


def test_from_a_config(folder):
    config = default.get_config()
    data_sets.select(config, "sen12ms_cr")
    data = config.data
    with pytest.raises(UserError, match="SEN12MS-CR is no folder"):
        open_split(data, "train", seed=0)
    data.train = data.test = str(folder[0])
    assert (
        open_split(data, "train", seed=0).info.name == "SEN12MS-CR train, cloud_removal, sen12mscr"
    )
    data.sen12ms_cr.update(normalisation="own", vv=(-30.0, 0.0), s2_max=5000.0)
    data.sen12ms_cr.update(task="sar_sharpening", bands=("B2", "B4"))
    data.ratio = 2
    info = open_split(data, "test", seed=0).info
    assert (info.max_value, info.ratio, info.num_bands) == (5000.0, 2, 2)


def verdicts(path):
    found = {}
    for finding in examine(path):
        found.setdefault(finding.topic, []).append((finding.level, finding.text))
    return found


def test_check_of_a_sound_folder(folder, capsys):
    run(["check", str(folder[0])])
    *lines, total = capsys.readouterr().out.splitlines()
    assert total.endswith("0 errors, 0 warnings")
    text = "\n".join(lines)
    assert "10 complete patches, scenes: ROIs1158_spring 2, ROIs1868_summer 1" in text
    assert "official: train 4, valid 2, test 4 patches" in text
    assert "10 read: 32x32 (10)" in text and "no NaN" in text
    assert re.search(r"s1: VV median -1[01].* dB, .* VH median -1[78]", text)
    assert re.search(r"s2_cloudy: counts \d+\.\.1\d{4}, \d.* % beyond 10000", text)


def test_check_of_a_broken_folder(tmp_path):
    written = writers.write_sen12(tmp_path, [(SPRING, 1)], patches=4)
    _rewrite("s1", lambda a: (10 ** (a / 10)).astype(np.float32))(tmp_path, written)
    clear = written[SPRING, 1, 31]["s2"].copy()
    clear[:, 0] = 0
    writers.write_tif(writers.sen12_path(tmp_path, "s2", SPRING, 1, 31), clear)
    writers.sen12_path(tmp_path, "s2_cloudy", SPRING, 1, 33).unlink()
    small = written[SPRING, 1, 32]["s2_cloudy"][:, :16]
    writers.write_tif(writers.sen12_path(tmp_path, "s2_cloudy", SPRING, 1, 32), small)
    found = verdicts(tmp_path)
    assert found["partners"] == [
        ("warning", "left out: 1 without s2_cloudy, as ROIs1158_spring_1_p33")
    ]
    assert found["split"][0][0] == "warning"
    assert found["geometry"][0][0] == "error" and "1_p32" in found["geometry"][0][1]
    level, text = found["holes"][0]
    assert level == "warning" and "s2 of ROIs1158_spring_1_p31 (3.1 %)" in text
    _cut(tmp_path, written)
    assert any("cannot be read" in text for level, text in verdicts(tmp_path)["files"])
    for path in tmp_path.glob("*_s2/*/*.tif"):
        path.unlink()
    assert verdicts(tmp_path)["partners"][0][0] == "error"


def test_evaluate_scores_a_folder(folder, tmp_path, capsys):
    options = {"workdir": None, "sensor": None, "max_value": None, "ratio": None, "batch_size": 4}
    evaluate(methods=["exp"], data=str(folder[0]), out=str(tmp_path / "out"), **options)
    assert "SEN12MS-CR test, cloud_removal, sen12mscr: 4 images" in capsys.readouterr().out
