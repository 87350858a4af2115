"""Stored arrays that take far more memory than is stored of them are refused; others cost what is
read of them."""

import struct
import zlib

import h5py
import numpy as np
import pytest
import rasterio
import scipy.io
from scene_files import counts, write_pair

from rsfusion_jax.cli.main import run
from rsfusion_jax.data.opening import open_dataset
from rsfusion_jax.data.raster import read_geotiff
from rsfusion_jax.data.stored import chunked, matfile, unpacking
from rsfusion_jax.data.stored.hdf5 import Hdf5File
from rsfusion_jax.data.stored.matfile import MatFile
from rsfusion_jax.data.stored.pancollection import open_set
from rsfusion_jax.errors import UserError

SHAPES = {"gt": (1, 4, 32, 32), "ms": (1, 4, 8, 8), "pan": (1, 1, 32, 32)}


@pytest.fixture
def small(monkeypatch):
    """Two million bytes are free, in place of a thousand million."""
    monkeypatch.setattr(unpacking, "FREE", 2_000_000)
    for module in (chunked, matfile):
        monkeypatch.setattr(module, "HARMLESS", 2_000_000 // 1032)


def h5_set(path, **others):
    """Write a set; `others` write arrays of it themselves, given the file and a name."""
    draw = np.random.default_rng(3)
    with h5py.File(path, "w") as file:
        for key, shape in SHAPES.items():
            if key in others:
                others[key](file, key)
            else:
                file[key] = draw.integers(1, 900, shape).astype(np.uint16)


def claimed(file, name):
    images, bands, rows, columns = SHAPES[name]
    shape = images, bands, rows * 10**5, columns * 10**5
    file.create_dataset(name, shape, "u2", chunks=(1, 1, 512, 512), compression=1)
    file[name][0, 0, :9, :9] = 7


def unwritten(file, name):
    file.create_dataset(name, SHAPES[name], "u2", chunks=SHAPES[name])


def wide_chunk(file, name):
    chunks = (1, 1, 3000, 3000)
    shape, most = SHAPES[name], (1, 1, None, None)
    file.create_dataset(name, shape, "u2", chunks=chunks, compression=1, maxshape=most)
    file[name][...] = 7


def unpacks_to_more(file, name):
    data = file.create_dataset(name, SHAPES[name], "u2", chunks=SHAPES[name], compression=1)
    data.id.write_direct_chunk((0, 0, 0, 0), zlib.compress(bytes(3_000_000)))


def compressed_twice(file, name):
    created = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    created.set_chunk(SHAPES[name])
    created.set_deflate(9)
    created.set_deflate(9)
    space = h5py.h5s.create_simple(SHAPES[name])
    h5py.h5d.create(file.id, name.encode(), h5py.h5t.NATIVE_UINT16, space, created)
    file[name][...] = 7


def refused(argv, capsys, folder):
    before = sorted(path.name for path in folder.iterdir())
    with pytest.raises(SystemExit) as ended:
        run([str(part) for part in argv])
    assert ended.value.code == 2
    assert sorted(path.name for path in folder.iterdir()) == before
    return capsys.readouterr().err.strip().splitlines()[-1]


@pytest.mark.parametrize(
    ("write", "said"),
    [
        (claimed, "'pan' would take 1.91e+04 GB of memory"),
        (unwritten, "'pan' holds no values"),
        (wide_chunk, "'pan' would take 0.0168 GB of memory"),
        (unpacks_to_more, "'pan' unpacks to more than the 2,048 bytes it has"),
        (compressed_twice, "'pan' is compressed by several filters"),
    ],
)
def test_hdf5(write, said, small, tmp_path, capsys):
    all_keys = dict.fromkeys(SHAPES, write) if write is claimed else {}
    h5_set(tmp_path / "a.h5", **{"pan": write, **all_keys})
    path = tmp_path / "a.h5"
    for argv in (
        ["check", path, "--sensor=qb"],
        ["evaluate", "--methods=exp", f"--data={path}", "--sensor=qb", f"--out={tmp_path / 'out'}"],
        ["convert", path, tmp_path / "b.h5"],
    ):
        assert said in refused(argv, capsys, tmp_path), argv


def test_what_is_not_read_costs_nothing(small, tmp_path):
    def series(file, name):  # 12 MB of zeros, image by image
        file.create_dataset(name, (12, 1, 1000, 500), "u2", chunks=(1, 1, 1000, 500), compression=9)
        file[name][...] = 0

    h5_set(tmp_path / "a.h5", pan=series, gt=claimed)
    arrays = Hdf5File(tmp_path / "a.h5").arrays()
    assert arrays["gt"].shape[-1] == 32 * 10**5
    assert not arrays["pan"][7].any()
    with pytest.raises(UserError, match=r"'pan' would take 0\.0112 GB"):
        np.asarray(arrays["pan"])


def test_well_compressed_chunks_open(small, tmp_path):
    image = np.add.outer(np.arange(1500), np.arange(1000)).astype(np.uint16)
    image = np.stack([image + 7 * i for i in range(3)])

    with h5py.File(tmp_path / "a.h5", "w") as file:
        for name, options in {
            "shuffled": {"shuffle": True},
            "summed": {"fletcher32": True},
        }.items():
            file.create_dataset(name, data=image, chunks=(2, 1500, 1000), compression=4, **options)
            assert file[name].id.get_chunk_info(0).size > chunked.HARMLESS
    for array in Hdf5File(tmp_path / "a.h5").arrays().values():
        assert np.array_equal(array[2], image[2])
        assert np.array_equal(array[1, 3:7], image[1, 3:7])
        assert np.array_equal(array, image)


def mat_variable(name, shape, stored, kind=6):
    """The bytes of a variable of MATLAB's format 5 up to its `stored` bytes of doubles."""
    head = struct.pack("<4I", 6, 8, kind, 0) + struct.pack("<2I2i", 5, 8, *shape)
    head += struct.pack("<2H4s", 1, len(name), name.encode()) + struct.pack("<2I", 9, stored)
    return struct.pack("<2I", 14, len(head) + stored) + head


@pytest.fixture
def mat(tmp_path):
    """A function that writes a .mat file with one more variable."""

    def write(variable, **options):
        path = tmp_path / "a.mat"
        ms = np.arange(256.0).reshape(8, 8, 4)
        scipy.io.savemat(path, {"ms": ms}, **options)
        packed = zlib.compress(variable)
        with path.open("ab") as file:
            file.write(struct.pack("<2I", 15, len(packed)) + packed)
        return path

    return write


def test_matlab(small, mat):
    zeros = bytes(3_000_000)
    for bytes_of_it, said in {
        mat_variable("pan", (60000, 60000), 80) + zeros[:80]: r"'pan' would take 26\.8 GB",
        mat_variable("pan", (32, 32), 3_000_000) + zeros: "'pan' unpacks to more than the 12,288",
        mat_variable("pan", (60000, 60000), 8, kind=1): "'pan' is a cell, expected an array of",
    }.items():
        for options in ({}, {"do_compression": True}):
            path = mat(bytes_of_it, **options)
            with pytest.raises(UserError, match=said):
                MatFile(path, ("ms", "pan"))
            assert MatFile(path, ("ms",)).arrays()["ms"][1, 2, 3] == 43


def test_well_compressed_matlab_arrays_open(small, tmp_path):
    image = np.add.outer(np.arange(900.0), np.arange(700.0))
    scipy.io.savemat(tmp_path / "a.mat", {"x": [1], "pan": image}, do_compression=True)
    assert (tmp_path / "a.mat").stat().st_size > 2 * matfile.HARMLESS
    assert np.array_equal(MatFile(tmp_path / "a.mat", ("pan",)).arrays()["pan"], image)


def test_arrays_of_numpy(tmp_path, capsys):
    for path in (tmp_path / "a.npy", tmp_path / "b.npy"):
        np.save(path, np.ones((8, 8, 4), np.uint16))
    with (tmp_path / "a.npy").open("wb") as file:
        header = {"descr": "<u2", "fortran_order": False, "shape": (10**6, 10**6)}
        np.lib.format.write_array_header_1_0(file, header)
        file.write(bytes(4000))
    argv = ["simulate", tmp_path / "a.npy", tmp_path / "b.npy", tmp_path / "o.h5", "--sensor=qb"]
    assert "a.npy cannot be read as .npy" in refused(argv, capsys, tmp_path)


def test_geotiffs(small, tmp_path):
    claim = {
        "transform": rasterio.Affine.scale(2),
        "width": 5000,
        "height": 5000,
        "count": 3,
        "dtype": "uint16",
        "sparse_ok": True,
    }
    tiles = {"blockxsize": 64, "blockysize": 64, "tiled": True}
    with rasterio.open(tmp_path / "tiles.tif", "w", "GTiff", **claim, **tiles) as file:
        file.write(np.ones((1, 64, 64)), [1], window=((0, 64), (0, 64)))
    with rasterio.open(
        tmp_path / "strip.tif", "w", "GTiff", **claim, blockysize=5000, compress="lzw"
    ):
        pass
    with open_dataset(str(tmp_path / "tiles.tif")) as file:
        assert file.read(1, window=((0, 64), (0, 64))).all()
    with pytest.raises(UserError, match=r"tiles\.tif: the image would take 0\.14 GB"):
        read_geotiff(tmp_path / "tiles.tif")
    with pytest.raises(UserError, match=r"strip\.tif: a block of it would take 0\.14 GB"):
        open_dataset(str(tmp_path / "strip.tif"))


def test_images_in_hdf5(small, tmp_path):
    h5_set(tmp_path / "a.h5", pan=unpacks_to_more, gt=unwritten)
    with pytest.raises(UserError, match="'pan' unpacks to more than"):
        open_dataset(f'HDF5:"{tmp_path / "a.h5"}"://ms')
    h5_set(tmp_path / "a.h5", gt=unwritten)
    with open_dataset(f'HDF5:"{tmp_path / "a.h5"}"://ms') as file:
        assert file.shape == (8, 8)


def test_a_file_that_cannot_be_read(monkeypatch, tmp_path):
    def fails(path):
        raise OSError(f"Unable to read {path}\nbuf = 0x7ff")

    monkeypatch.setattr(h5py, "is_hdf5", fails)
    h5_set(tmp_path / "a.h5")
    with pytest.raises(UserError, match=r"a\.h5 cannot be read \(Unable to read .* copy it again"):
        open_set(tmp_path / "a.h5", sensor="qb")


def test_damaged_hdf5_as_an_image(tmp_path, capsys):
    write_pair(tmp_path, *counts(8, 8))
    h5_set(tmp_path / "a.h5")
    (tmp_path / "a.h5").write_bytes((tmp_path / "a.h5").read_bytes()[:-900])
    for name in (tmp_path / "a.h5", f'HDF5:"{tmp_path / "a.h5"}"://ms'):
        argv = ["fuse", tmp_path / "pan.tif", name, tmp_path / "o.tif", "--method=exp"]
        assert "a.h5 cannot be opened as HDF5 (" in refused(argv, capsys, tmp_path)
