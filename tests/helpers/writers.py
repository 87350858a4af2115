"""Small files in the formats in which public sets are distributed, made from a seed."""

from pathlib import Path

import h5py
import numpy as np
import rasterio
import scipy.io

from rsfusion_jax.ops.mtf import mtf_filter
from rsfusion_jax.ops.resample import decimate, imresize, interp23

HISR = {"gt": "GT", "ms": "LRHSI", "lms": "HSI_up", "pan": "RGB"}
HYPERPAN = {"gt": "GT", "ms": "MS", "lms": "LMS", "pan": "PAN"}


def spectral_set(count=3, bands=31, guide_bands=3, ratio=4, height=8, width=6, seed=0):
    """Arrays (N, H, W, C) in [0, 1] as HISR files have them: `ms`, `lms` by bicubic about areas."""
    rng = np.random.default_rng(seed)
    fine, coarse = (height * ratio, width * ratio), (height, width)
    knots = rng.uniform(0.1, 0.9, (count, height * 2, width * 2, 4))
    shapes = np.stack([imresize(image, fine) for image in knots])
    mixing = np.abs(rng.normal(size=(4, bands)).cumsum(axis=1)) + 0.3
    gt = np.clip(shapes @ (mixing / mixing.sum(axis=0)), 0, 1)
    response = rng.uniform(size=(bands, guide_bands))
    ms = np.stack([imresize(image, coarse) for image in gt]).clip(0, 1)
    lms = np.stack([imresize(image, fine) for image in ms])
    return {"gt": gt, "ms": ms, "lms": lms, "pan": gt @ (response / response.sum(axis=0))}


def hyper_set(count=3, bands=102, ratio=4, height=8, width=6, seed=0):
    """A PAN beside many bands as PanCollection makes pairs: blurred, decimated, `interp23`."""
    arrays = spectral_set(count, bands, 1, ratio, height, width, seed)
    ms = [decimate(mtf_filter(image, (0.3,) * bands, ratio), ratio) for image in arrays["gt"]]
    lms = [interp23(image, ratio) for image in ms]
    return {**arrays, "ms": np.stack(ms), "lms": np.stack(lms)}


def write_h5(path, arrays, names, dtype=np.float64, order="NCHW", **attributes) -> Path:
    """One root array per key, under the family's names."""
    axes = tuple("NHWC".index(axis) for axis in order)
    with h5py.File(path, "w") as file:
        for key, array in arrays.items():
            file[names[key]] = array.transpose(axes).astype(dtype)
        file.attrs.update(attributes)
    return Path(path)


def write_mat(path, arrays, names, index=None) -> Path:
    """A MATLAB 5 file: a stack (N, H, W, C), or image `index` alone as (H, W, C)."""
    chosen = {names[k]: a if index is None else a[index] for k, a in arrays.items()}
    scipy.io.savemat(path, chosen, do_compression=True)
    return Path(path)


def write_mat73(path, arrays, names) -> Path:
    """A MATLAB 7.3 file: HDF5 behind a header block, every axis order reversed."""
    with h5py.File(path, "w", userblock_size=512) as file:
        for key, array in arrays.items():
            file[names[key]] = np.ascontiguousarray(array.T)
    with Path(path).open("r+b") as file:
        file.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(116))
    return Path(path)


def sen12_patch(rng, side=32):
    """Radar in dB (2, H, W), clear and clouded counts (13, H, W); some values beyond the clips."""
    ground = imresize(rng.uniform(200, 4000, (side // 4, side // 4, 13)), (side, side))
    radar = rng.normal((-11.0, -18.0), (4.0, 5.0), (side, side, 2))
    radar[0, 0], radar[0, 1] = (3.0, 1.0), (-40.0, -40.0)
    cover = imresize(rng.uniform(-1, 2, (side // 8, side // 8, 1)), (side, side)).clip(0, 1)
    clear = np.rint(ground).clip(1, 12000)
    clouded = np.rint((1 - cover) * ground + cover * 11000).clip(1, 14000)
    return {
        "s1": np.moveaxis(radar, -1, 0).astype(np.float32),
        "s2": np.moveaxis(clear, -1, 0).astype(np.uint16),
        "s2_cloudy": np.moveaxis(clouded, -1, 0).astype(np.uint16),
    }


def sen12_path(root, kind, season, scene, number) -> Path:
    """Where SEN12MS-CR keeps a file."""
    name = f"{season}_{kind}_{scene}_p{number}.tif"
    return Path(root) / f"{season}_{kind}" / f"{kind}_{scene}" / name


def write_tif(path, image, **options) -> None:
    """A georeferenced GeoTIFF of (C, H, W)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    bands, height, width = image.shape
    profile = {
        "driver": "GTiff",
        "count": bands,
        "height": height,
        "width": width,
        "dtype": image.dtype,
        "crs": "EPSG:32632",
        "transform": rasterio.Affine(10, 0, 500000, 0, -10, 5500000),
        **options,
    }
    with rasterio.open(path, "w", **profile) as file:
        file.write(image)


def write_sen12(root, scenes, patches=2, side=32, seed=0) -> dict:
    """A SEN12MS-CR folder; returns what was written by (season, scene, number)."""
    written = {}
    for season, scene in scenes:
        for number in range(30, 30 + patches):
            rng = np.random.default_rng([seed, scene, number])
            images = sen12_patch(rng, side)
            written[season, scene, number] = images
            for kind, image in images.items():
                write_tif(sen12_path(root, kind, season, scene, number), image)
    return written
