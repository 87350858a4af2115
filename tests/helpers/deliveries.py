"""Small products in the layouts of their providers."""

import json
import shutil

import h5py
import numpy as np
import rasterio
import scipy.ndimage
from rasterio import Affine

UTM = "EPSG:32634"
LEFT, TOP = 600000.0, 6400020.0


def bands(height, width, count, seed=0, low=300, high=2600):
    """(count, height, width) uint16 of bands that share structure."""
    random = np.random.default_rng(seed)
    base = [
        sum(
            size * scipy.ndimage.gaussian_filter(random.standard_normal((height, width)), size)
            for size in (1, 3, 9)
        )
        for _ in range(2)
    ]
    mixed = [np.cos(band / 3) * base[0] + np.sin(band / 3) * base[1] for band in range(count)]
    scaled = [(image - image.min()) / np.ptp(image) for image in mixed]
    return np.rint(low + (high - low) * np.stack(scaled)).astype(np.uint16)


def reduced(image, ratio):
    """Means of blocks."""
    count, height, width = image.shape
    blocks = image.reshape(count, height // ratio, ratio, width // ratio, ratio)
    return np.rint(blocks.mean((2, 4))).astype(np.uint16)


def write(path, image, pixel, *, left=LEFT, top=TOP, driver="GTiff", **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    count, height, width = image.shape
    profile = {"height": height, "width": width, "count": count, "dtype": image.dtype}
    transform = Affine(pixel, 0, left, 0, -pixel, top)
    place = {"crs": UTM, "transform": transform}
    with rasterio.open(path, "w", driver=driver, **profile, **place, **options) as file:
        file.write(image)
    return path


def write_landsat(folder, *, seed=1, size=48, spacecraft="LANDSAT_9", level="L1TP", missing=()):
    """A product of Collection 2 Level 1; returns (its folder, MS (7, h, w), PAN (1, H, W))."""
    name = f"LC0{spacecraft[-1]}_{level}_190027_20300615_20300620_02_T1"
    root = folder / name
    sharp = bands(2 * size, 2 * size, 7, seed)
    ms, pan = reduced(sharp, 2), np.rint(sharp[1:4].mean(0, keepdims=True)).astype(np.uint16)
    # The product's fill value along one edge.
    ms[:, :, :2], pan[:, :, :4] = 0, 0
    for number in {*range(1, 8)} - {*missing}:
        # PAN's grid begins half a PAN pixel before that of MS.
        write(root / f"{name}_B{number}.TIF", ms[[number - 1]], 30, left=LEFT + 7.5, top=TOP - 7.5)
    if 8 not in missing:
        write(root / f"{name}_B8.TIF", pan, 15)
    fields = {f"FILE_NAME_BAND_{number}": f"{name}_B{number}.TIF" for number in range(1, 9)}
    if level.startswith("L2"):
        del fields["FILE_NAME_BAND_8"]
    groups = {
        "PRODUCT_CONTENTS": {"PROCESSING_LEVEL": level, **fields},
        "IMAGE_ATTRIBUTES": {"SPACECRAFT_ID": spacecraft, "SENSOR_ID": "OLI_TIRS"},
    }
    text = ["GROUP = LANDSAT_METADATA_FILE"]
    for group, entries in groups.items():
        text += [f"  GROUP = {group}"]
        text += [f'    {key} = "{value}"' for key, value in entries.items()]
        text += [f"  END_GROUP = {group}"]
    root.mkdir(exist_ok=True)
    (root / f"{name}_MTL.txt").write_text("\n".join([*text, "END_GROUP", "END", ""]))
    (root / f"{name}_MTL.json").write_text(json.dumps({"LANDSAT_METADATA_FILE": groups}))
    return root, ms, pan


_S2_BANDS = {
    10: ("B02", "B03", "B04", "B08"),
    20: ("B05", "B06", "B07", "B8A", "B11", "B12"),
    60: ("B01", "B09"),
}


def write_sentinel2(folder, *, seed=2, size=96, level="2A", zipped=False):
    """A product; returns (its path, {10, 20, 60: (bands, h, w)} in the order of the names)."""
    name = f"S2B_MSIL{level}_20300823T095559_N0511_R122_T34UCF_20300823T124759"
    root, tile = folder / f"{name}.SAFE", "T34UCF_20300823T095559"
    granule = f"GRANULE/L{level}_T34UCF_A033753_20300823T095553"
    sharp = bands(size, size, 12, seed)
    images = {
        10: sharp[[0, 2, 4, 8]],
        20: reduced(sharp[[3, 5, 6, 7, 9, 10]], 2),
        60: reduced(sharp[[1, 11]], 6),
    }
    listed = _S2_BANDS | ({60: ("B01", "B09", "B10")} if level == "1C" else {})
    if level == "1C":
        images[60] = np.concatenate([images[60], images[60][:1] // 9 + 1])
    lines = []
    for resolution, names in listed.items():
        for band, image in zip(names, images[resolution], strict=True):
            place = f"R{resolution}m/{tile}_{band}_{resolution}m"
            place = place if level == "2A" else f"{tile}_{band}"
            path = root / granule / "IMG_DATA" / f"{place}.jp2"
            options = {"QUALITY": "100", "REVERSIBLE": "YES"}
            write(path, image[None], resolution, driver="JP2OpenJPEG", **options)
            lines.append(f"<IMAGE_FILE>{granule}/IMG_DATA/{place}</IMAGE_FILE>")
    space = "https://psd-14.sentinel2.eo.esa.int/PSD/"
    quantities = '<BOA_QUANTIFICATION_VALUE unit="none">10000</BOA_QUANTIFICATION_VALUE>'
    (root / f"MTD_MSIL{level}.xml").write_text(
        f'<?xml version="1.0" encoding="UTF-8"?><n1:Level-{level}_User_Product xmlns:n1="{space}'
        f'User_Product_Level-{level}.xsd"><n1:General_Info><Product_Info>'
        f"<PRODUCT_URI>{name}.SAFE</PRODUCT_URI>"
        f"<PROCESSING_LEVEL>Level-{level}</PROCESSING_LEVEL>"
        f"<PRODUCT_TYPE>S2MSI{level}</PRODUCT_TYPE><PROCESSING_BASELINE>05.11"
        "</PROCESSING_BASELINE><Datatake><SPACECRAFT_NAME>Sentinel-2B</SPACECRAFT_NAME></Datatake>"
        "<Query_Options><PRODUCT_FORMAT>SAFE_COMPACT</PRODUCT_FORMAT></Query_Options>"
        "<Product_Organisation><Granule_List><Granule granuleIdentifier="
        f'"S2B_OPER_MSI_L{level}_TL_2BPS_20300823T124759_A033753_T34UCF_N05.11" '
        f'imageFormat="JPEG2000">{"".join(lines)}</Granule></Granule_List></Product_Organisation>'
        "</Product_Info><Product_Image_Characteristics><Special_Values><SPECIAL_VALUE_TEXT>NODATA"
        "</SPECIAL_VALUE_TEXT><SPECIAL_VALUE_INDEX>0</SPECIAL_VALUE_INDEX></Special_Values>"
        f"<QUANTIFICATION_VALUES_LIST>{quantities}</QUANTIFICATION_VALUES_LIST>"
        '<QUANTIFICATION_VALUE unit="none">10000</QUANTIFICATION_VALUE>'
        f"</Product_Image_Characteristics></n1:General_Info></n1:Level-{level}_User_Product>"
    )
    sides = {resolution: size * 10 // resolution for resolution in _S2_BANDS}
    sizes = "".join(
        f'<Size resolution="{r}"><NROWS>{n}</NROWS><NCOLS>{n}</NCOLS></Size>'
        for r, n in sides.items()
    )
    places = "".join(
        f'<Geoposition resolution="{r}"><ULX>{LEFT:.0f}</ULX><ULY>{TOP:.0f}</ULY><XDIM>{r}</XDIM>'
        f"<YDIM>-{r}</YDIM></Geoposition>"
        for r in sides
    )
    (root / granule / "MTD_TL.xml").write_text(
        f'<?xml version="1.0" encoding="UTF-8"?><n1:Level-{level}_Tile_ID xmlns:n1="{space}S2_PDI_'
        f'Level-{level}_Tile_Metadata.xsd"><n1:Geometric_Info><Tile_Geocoding>'
        "<HORIZONTAL_CS_NAME>WGS84 / UTM zone 34N</HORIZONTAL_CS_NAME><HORIZONTAL_CS_CODE>"
        f"{UTM}</HORIZONTAL_CS_CODE>{sizes}{places}</Tile_Geocoding></n1:Geometric_Info>"
        f"</n1:Level-{level}_Tile_ID>"
    )
    if not zipped:
        return root, images
    archive = shutil.make_archive(str(folder / name), "zip", folder, root.name)
    shutil.rmtree(root)
    return folder / archive, images


def write_prisma(folder, *, seed=3, size=20, dead=()):
    """A product of level 2D; returns (its path, centres in nm, cube (bands, h, w), PAN).

    As in real ones the wavelengths fall from plane to plane, and one slot has no detector.
    """
    vnir, swir = np.linspace(1000, 410, 9), np.linspace(2400, 940, 12)
    sharp = bands(6 * size, 6 * size, 21, seed, low=2000, high=60000)
    cube, pan = reduced(sharp, 6), sharp[2:6].mean(0).round().astype(np.uint16)
    cube[list(dead)] = 0
    path = folder / "PRS_L2D_STD_20300407100729_20300407100733_0001.he5"
    with h5py.File(path, "w") as file:
        cubes = file.create_group("HDFEOS/SWATHS/PRS_L2D_HCO/Data Fields")
        cubes["VNIR_Cube"] = np.moveaxis(cube[:9], 0, 1)
        cubes["SWIR_Cube"] = np.moveaxis(np.concatenate([cube[9:], 0 * cube[:1]]), 0, 1)
        file["HDFEOS/SWATHS/PRS_L2D_PCO/Data Fields/Cube"] = pan
        attributes = {
            "List_Cw_Vnir": vnir,
            "List_Cw_Swir": np.append(swir, 0),
            "List_Fwhm_Vnir": np.full(9, 12.0),
            "List_Fwhm_Swir": np.append(np.full(12, 10.0), 0),
            "List_Cw_Vnir_Flags": np.ones(9, int),
            "List_Cw_Swir_Flags": np.append(np.ones(12, int), 0),
            "Epsg_Code": 32634,
            "Product_ULcorner_easting": LEFT,
            "Product_ULcorner_northing": TOP,
        }
        for name, high in (("Vnir", 0.65), ("Swir", 0.9), ("Pan", 0.7)):
            attributes |= {f"L2Scale{name}Min": 0.01, f"L2Scale{name}Max": high}
        file.attrs.update(attributes)
    order = np.argsort(np.append(vnir, swir))
    centres = np.append(vnir, swir)[order]
    # Beyond VNIR's longest wavelength SWIR goes on; where they overlap VNIR is taken.
    kept = (order < 9) | (centres > vnir.max())
    return path, centres[kept], cube[order][kept], pan[None]


def write_maxar(folder, *, seed=4, size=(24, 40), groups=("B", "G", "R", "N"), satellite="WV03"):
    """PAN and MS in two folders, MS of two tiles; returns (the folder, MS, PAN)."""
    height, width = size
    sharp = bands(4 * height, 4 * width, len(groups), seed, high=1900)
    ms, pan = reduced(sharp, 4), sharp.mean(0, keepdims=True).round().astype(np.uint16)
    for name, image, pixel, tiles, named in (
        ("30JUN15_P001_PAN", pan, 0.5, 1, ("P",)),
        ("30JUN15_P001_MUL", ms, 2.0, 2, groups),
    ):
        root, stem = folder / name, f"30JUN15100000-{name[-3:]}-0001"
        rows, columns = image.shape[1:]
        step = columns // tiles
        text = [f"numTiles = {tiles};", 'tileUnits = "Pixels";', "tileOverlap = 0;"]
        for index in range(tiles):
            first, last = index * step, (index + 1) * step - 1
            tile = f"{stem}_R1C{index + 1}.TIF"
            write(root / tile, image[:, :, first : last + 1], pixel, left=LEFT + pixel * first)
            corners = {"UL": (first, 0), "UR": (last, 0), "LR": (last, rows - 1)}
            corners["LL"] = first, rows - 1
            text += [f"BEGIN_GROUP = TILE_{index + 1}", f'\tfilename = "{tile}";']
            for corner, (column, row) in corners.items():
                text += [f"\t{corner}ColOffset = {column};", f"\t{corner}RowOffset = {row};"]
            text += [f"END_GROUP = TILE_{index + 1}"]
        band_id = "P" if len(named) == 1 else "Multi"
        (root / f"{stem}.TIL").write_text("\n".join([f'bandId = "{band_id}";', *text, "END;", ""]))
        imd = ['version = "28.4";', f'bandId = "{band_id}";', f"numRows = {rows};"]
        imd += [f"numColumns = {columns};", "bitsPerPixel = 16;"]
        for band in named:
            imd += [f"BEGIN_GROUP = BAND_{band}", "\tabsCalFactor = 1.0e-02;"]
            imd += [f"END_GROUP = BAND_{band}"]
        imd += ["BEGIN_GROUP = IMAGE_1", f'\tsatId = "{satellite}";', "END_GROUP = IMAGE_1"]
        imd += ["BEGIN_GROUP = MAP_PROJECTED_PRODUCT", f"\tULX = {LEFT + pixel / 2};"]
        imd += [f"\tULY = {TOP - pixel / 2};", f"\tcolSpacing = {pixel};"]
        imd += [f"\trowSpacing = {pixel};", "END_GROUP = MAP_PROJECTED_PRODUCT", "END;", ""]
        (root / f"{stem}.IMD").write_text("\n".join(imd))
    return folder, ms, pan


def write_airbus(folder, *, seed=5, size=(24, 40), order=("B2", "B1", "B0", "B3"), kind="MS"):
    """PAN and MS in DIMAP, MS of two tiles and not in the order of wavelengths."""
    height, width = size
    sharp = bands(4 * height, 4 * width, 4, seed, high=3900)
    ms, pan = reduced(sharp, 4), sharp.mean(0, keepdims=True).round().astype(np.uint16)
    for name, image, pixel, tiles, ids in (("P", pan, 0.5, 1, ("P",)), (kind, ms, 2.0, 2, order)):
        root, step = folder / f"IMG_PHR1B_{name}_001", image.shape[2] // tiles
        files = []
        for index in range(tiles):
            tile = f"IMG_PHR1B_{name}_R1C{index + 1}.TIF"
            part = image[:, :, index * step : (index + 1) * step]
            write(root / tile, part, pixel, left=LEFT + pixel * step * index)
            files.append(
                f'<Data_File tile_R="1" tile_C="{index + 1}"><DATA_FILE_PATH href="{tile}"/>'
                "</Data_File>"
            )
        indices = "".join(
            f"<Raster_Index><BAND_ID>{band}</BAND_ID><BAND_INDEX>{index}</BAND_INDEX>"
            "</Raster_Index>"
            for index, band in enumerate(ids, start=1)
        )
        count, rows, columns = image.shape
        (root / f"DIM_PHR1B_{name}.XML").write_text(
            '<?xml version="1.0" encoding="UTF-8"?><Dimap_Document><Metadata_Identification>'
            '<METADATA_FORMAT version="2.0">DIMAP</METADATA_FORMAT><METADATA_PROFILE>PHR_ORTHO'
            "</METADATA_PROFILE><METADATA_SUBPROFILE>PRODUCT</METADATA_SUBPROFILE>"
            "</Metadata_Identification><Coordinate_Reference_System><Projected_CRS>"
            f"<PROJECTED_CRS_CODE>urn:ogc:def:crs:EPSG::{UTM[5:]}</PROJECTED_CRS_CODE>"
            "</Projected_CRS></Coordinate_Reference_System><Geoposition><Geoposition_Insert>"
            f"<ULXMAP>{LEFT}</ULXMAP><ULYMAP>{TOP}</ULYMAP><XDIM>{pixel}</XDIM><YDIM>{pixel}</YDIM>"
            "</Geoposition_Insert></Geoposition><Processing_Information><Product_Settings>"
            f"<PROCESSING_LEVEL>ORTHO</PROCESSING_LEVEL><SPECTRAL_PROCESSING>{name}"
            "</SPECTRAL_PROCESSING></Product_Settings></Processing_Information><Raster_Data>"
            "<Data_Access><DATA_FILE_ORGANISATION>BAND_COMPOSITE</DATA_FILE_ORGANISATION>"
            "<DATA_FILE_FORMAT>image/tiff</DATA_FILE_FORMAT><DATA_FILE_TILES>true</DATA_FILE_TILES>"
            f"<Data_Files>{''.join(files)}</Data_Files></Data_Access><Raster_Dimensions>"
            f"<NROWS>{rows}</NROWS><NCOLS>{columns}</NCOLS><NBANDS>{count}</NBANDS><Tile_Set>"
            f'<NTILES>{tiles}</NTILES><Regular_Tiling><NTILES_SIZE nrows="{rows}" ncols="{step}"/>'
            f'<NTILES_COUNT ntiles_R="1" ntiles_C="{tiles}"/><OVERLAP_ROW>0</OVERLAP_ROW>'
            "<OVERLAP_COL>0</OVERLAP_COL></Regular_Tiling></Tile_Set></Raster_Dimensions>"
            "<Raster_Encoding><DATA_TYPE>INTEGER</DATA_TYPE><NBITS>12</NBITS><SIGN>UNSIGNED</SIGN>"
            f"</Raster_Encoding><Raster_Display><Raster_Index_List>{indices}</Raster_Index_List>"
            "<Special_Value><SPECIAL_VALUE_TEXT>NODATA</SPECIAL_VALUE_TEXT><SPECIAL_VALUE_COUNT>0"
            "</SPECIAL_VALUE_COUNT></Special_Value></Raster_Display></Raster_Data>"
            "<Dataset_Sources><Source_Identification><Strip_Source><MISSION>PHR</MISSION>"
            "<MISSION_INDEX>1B</MISSION_INDEX></Strip_Source></Source_Identification>"
            "</Dataset_Sources></Dimap_Document>"
        )
    return folder, ms, pan
