from rsfusion_jax.metrics.full import d_lambda, d_lambda_k, d_s, hqnr, qnr
from rsfusion_jax.metrics.hypercomplex import q2n
from rsfusion_jax.metrics.pair import cut_border
from rsfusion_jax.metrics.reduced import ergas, mae, psnr, psnr_band_mean, sam, scc
from rsfusion_jax.metrics.reprojection import d_rho, r_ergas, r_q2n, r_sam
from rsfusion_jax.metrics.statistical import cc, rmse
from rsfusion_jax.metrics.structural import ssim, ssim_toolbox
from rsfusion_jax.metrics.uiqi import q

__all__ = [
    "cc",
    "cut_border",
    "d_lambda",
    "d_lambda_k",
    "d_rho",
    "d_s",
    "ergas",
    "hqnr",
    "mae",
    "psnr",
    "psnr_band_mean",
    "q",
    "q2n",
    "qnr",
    "r_ergas",
    "r_q2n",
    "r_sam",
    "rmse",
    "sam",
    "scc",
    "ssim",
    "ssim_toolbox",
]
