"""SEN12MS-CR: radar, clouded and clear Sentinel-2 images of the same places (Ebel et al., 2021)."""

from rsfusion_jax.data.sen12ms_cr.source import Sen12msCr, open_sen12ms_cr

__all__ = ["Sen12msCr", "open_sen12ms_cr"]
