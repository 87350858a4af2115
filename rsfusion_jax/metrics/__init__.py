from rsfusion_jax.metrics.hypercomplex import q2n
from rsfusion_jax.metrics.pair import cut_border
from rsfusion_jax.metrics.reduced import ergas, mae, psnr, psnr_band_mean, sam, scc
from rsfusion_jax.metrics.structural import ssim, ssim_toolbox

__all__ = [
    "cut_border",
    "ergas",
    "mae",
    "psnr",
    "psnr_band_mean",
    "q2n",
    "sam",
    "scc",
    "ssim",
    "ssim_toolbox",
]
