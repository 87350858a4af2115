"""Which drivers open an image, what it may lead to, and archives that claim too much."""

import gzip
import io
import tarfile
import zipfile

import h5py
import numpy as np
import pytest
from range_server import serve
from scene_files import write_tif

from rsfusion_jax.archives import check_archive
from rsfusion_jax.cli.main import run
from rsfusion_jax.data.opening import Trust, drivers_of, open_dataset
from rsfusion_jax.errors import UserError

IMAGE = np.arange(40, dtype=np.uint16).reshape(5, 8, 1)


@pytest.fixture
def inside(tmp_path):
    """A folder with an image; the image `secret.tif` lies above it."""
    write_tif(tmp_path / "secret.tif", IMAGE, pixel=1)
    folder = tmp_path / "inside"
    folder.mkdir()
    write_tif(folder / "a.tif", IMAGE, pixel=1)
    return folder


def vrt(path, source, relative=0, tag="SourceFilename", more="", kind=""):
    path.write_text(
        f'<VRTDataset rasterXSize="8" rasterYSize="5" {kind}><VRTRasterBand dataType="UInt16" '
        f'band="1">{more}<SimpleSource><{tag} relativeToVRT="{relative}">{source}</{tag}>'
        "<SourceBand>1</SourceBand></SimpleSource></VRTRasterBand></VRTDataset>"
    )
    return str(path)


@pytest.mark.parametrize(
    ("name", "drivers"),
    [
        ("/a/b.TIF", ["GTiff"]),
        ("https://a.org/x.d/b.tiff?token=a/b.png", ["GTiff"]),
        ("/vsizip//a/b.zip/c.tif", ["GTiff"]),
        ("zip+https://a.org/b.zip!c.png", ["PNG"]),
        ("/a/b.vrt", ["VRT"]),
        ("/a.d/b", ["ENVI", "EHdr"]),
        ("HDF5:/a/b.tif://c", None),
    ],
)
def test_names_say_drivers(name, drivers):
    assert drivers_of(name, Trust()) == drivers


def test_a_name_without_a_format_needs_a_driver(inside):
    name = inside / "a.tif"
    other = str(name.rename(inside / "a.odd"))
    with pytest.raises(UserError, match=r"a\.odd: its name says no format .* --drivers"):
        open_dataset(other)
    with open_dataset(other, Trust(drivers=("ENVI", "GTiff"))) as file:
        assert (file.read(1) == IMAGE[..., 0]).all()
    with pytest.raises(UserError, match="no such driver"):
        open_dataset(other, Trust(drivers=("GTif",)))


def test_sources_in_the_folder_are_followed(inside):
    (inside / "deep").mkdir()
    (inside / "a.tif").rename(inside / "deep" / "a.tif")
    vrt(inside / "first.vrt", "deep/a.tif", 1)
    for name in (
        vrt(inside / "second.vrt", inside / "first.vrt"),
        vrt(inside / "third.vrt", "./deep/../first.vrt", 1),
    ):
        with open_dataset(name) as file:
            assert (file.read(1) == IMAGE[..., 0]).all()


@pytest.mark.parametrize("form", ["away", "relative", "link", "nested", "case", "mask", "bare"])
def test_sources_elsewhere_are_not_followed(inside, form):
    secret = inside.parent / "secret.tif"
    if form == "link":
        (inside / "link.tif").symlink_to(secret)
    if form == "nested":
        vrt(inside / "deep.vrt", secret)
        # By its content another virtual dataset; by its name only GeoTIFF may open it.
        source = inside / "deep.vrt"
    mask = f"<MaskBand><VRTRasterBand dataType='Byte'><SimpleSource><SourceFilename>{secret}"
    mask += "</SourceFilename></SimpleSource></VRTRasterBand></MaskBand>"
    name = {
        "away": lambda: vrt(inside / "x.vrt", secret),
        "relative": lambda: vrt(inside / "x.vrt", "../secret.tif", 1),
        "link": lambda: vrt(inside / "x.vrt", "link.tif", 1),
        "nested": lambda: vrt(inside / "x.vrt", source),
        "case": lambda: vrt(inside / "x.vrt", secret, tag="SOURCEfilename"),
        "mask": lambda: vrt(inside / "x.vrt", "a.tif", 1, more=mask),
        "bare": lambda: vrt(inside / "x.vrt", "HDF5:x.h5://a"),
    }[form]()
    with pytest.raises(UserError, match=r"leads to .*, which is not a file in its folder; give"):
        open_dataset(name)
    if form in ("away", "relative", "link", "nested"):
        with open_dataset(name, Trust(follow=True)) as file:
            assert (file.read(1) == IMAGE[..., 0]).all()


def test_addresses_are_not_followed(inside):
    with serve(inside) as (address, sent):
        for source in (f"/vsicurl/{address}/a.tif", f"{address}/a.tif"):
            name = vrt(inside / "x.vrt", source)
            with pytest.raises(UserError, match="leads to"):
                open_dataset(name)
        assert not sent("/a.tif")
        with open_dataset(vrt(inside / "x.vrt", f"/vsicurl/{address}/a.tif"), Trust((), True)) as f:
            assert (f.read(1) == IMAGE[..., 0]).all()
        with pytest.raises(UserError, match="on the network, which may lead anywhere"):
            open_dataset(f"/vsicurl/{address}/x.vrt")


def test_a_source_that_is_another_format(inside):
    """GDAL would open it by its content and follow it."""
    vrt(inside / "hidden.tif", inside.parent / "secret.tif")
    with pytest.raises(UserError, match=r"hidden\.tif, which is not what its name says"):
        open_dataset(vrt(inside / "x.vrt", "hidden.tif", 1))


def test_python_in_an_image_stays_off(inside, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("GDAL_VRT_ENABLE_PYTHON", "YES")
    code = f"open({str(tmp_path / 'came')!r}, 'w')"
    more = (
        "<PixelFunctionType>f</PixelFunctionType><PixelFunctionLanguage>Python"
        "</PixelFunctionLanguage><PixelFunctionCode><![CDATA[\nimport numpy\n"
        f"def f(a, out, *args, **kwargs):\n    {code}\n    out[:] = 1\n]]></PixelFunctionCode>"
    )
    name = inside / "x.vrt"
    vrt(name, "a.tif", 1, more=more)
    derived = '<VRTRasterBand subClass="VRTDerivedRasterBand"'
    name.write_text(name.read_text().replace("<VRTRasterBand", derived))
    with pytest.raises(SystemExit) as ended:
        run(["fuse", str(name), str(inside / "a.tif"), str(tmp_path / "o.tif"), "--method=exp"])
    assert ended.value.code == 2 and not (tmp_path / "came").exists()
    assert capsys.readouterr().err.strip().splitlines()[-1].startswith("error: ")


def test_hdf5_images_of_other_files(inside, tmp_path):
    (tmp_path / "raw").write_bytes(bytes(80))
    with h5py.File(inside / "own.h5", "w") as file:
        file["group/image"] = IMAGE[..., 0]
    with open_dataset(f'HDF5:"{inside}/own.h5"://group/image') as file:
        assert (file.read(1) == IMAGE[..., 0]).all()
    with h5py.File(inside / "raw.h5", "w") as file:
        file.create_group("deep").create_dataset("x", (5, 8), "u2", external=str(tmp_path / "raw"))
    with h5py.File(inside / "link.h5", "w") as file:
        file["x"] = h5py.ExternalLink(str(tmp_path / "other.h5"), "x")
    for name in (str(inside / "raw.h5"), f"HDF5:{inside}/raw.h5://deep/x", str(inside / "link.h5")):
        with pytest.raises(UserError, match="lie in another file"):
            open_dataset(name)


def zipped(path, sizes, compression=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path, "w", compression) as archive:
        for index, size in enumerate(sizes):
            archive.writestr(str(index), bytes(size))
    return path


def test_archives_that_claim_too_much(tmp_path):
    bomb = zipped(tmp_path / "bomb.zip", [10, 90 * 2**20])
    with tarfile.open(tmp_path / "bomb.tgz", "w:gz") as archive:
        member = tarfile.TarInfo("a")
        member.size = 90 * 2**20
        archive.addfile(member, io.BytesIO(bytes(member.size)))
    (tmp_path / "bomb.gz").write_bytes(gzip.compress(bytes(90 * 2**20)))
    for path in (bomb, tmp_path / "bomb.tgz", tmp_path / "bomb.gz"):
        with pytest.raises(UserError, match=r"claims 0\.09 GB in .* made to fill a machine"):
            check_archive(path)
    many = zipped(tmp_path / "many.zip", [1000, 500], zipfile.ZIP_STORED)
    check_archive(many)
    content = bytearray(many.read_bytes())
    place = content.rindex(b"PK\x01\x02")
    content[place + 20 : place + 24] = (2000).to_bytes(4, "little")  # over the other's bytes
    many.write_bytes(content)
    with pytest.raises(UserError, match="made to fill a machine"):
        check_archive(many)


@pytest.mark.parametrize("what", ["image", "product", "weights"])
def test_commands_refuse_such_archives(tmp_path, what, capsys):
    bomb = zipped(tmp_path / "bomb.zip", [90 * 2**20])
    if what == "weights":
        pytest.importorskip("torch", reason="needs the extra [torch]")
        bomb = bomb.rename(tmp_path / "bomb.pth")
    argv = {
        "image": ["fuse", f"zip://{bomb}!0", "ms.tif", str(tmp_path / "o.tif"), "--drivers=GTiff"],
        "product": ["fuse", str(bomb), str(tmp_path / "o.tif")],
        "weights": ["port", str(bomb), str(tmp_path / "run"), "--model=pnn", "--num-bands=4"],
    }[what]
    write_tif(tmp_path / "ms.tif", IMAGE, pixel=1)
    argv = [str(tmp_path / "ms.tif") if one == "ms.tif" else one for one in argv]
    with pytest.raises(SystemExit) as ended:
        run(argv)
    assert ended.value.code == 2 and "made to fill a machine" in capsys.readouterr().err
    assert {path.name for path in tmp_path.iterdir()} == {bomb.name, "ms.tif"}
