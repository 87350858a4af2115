"""Sensor records: bands, wavelengths, bit depth, full scale and MTF gains at Nyquist.

A sensor describes how its pixels were acquired. The scale by which a network's training images were
divided is not part of it: that scale is stored with the network's weights.
"""

from rsfusion_jax.sensors.bands import match_bands, rgb_by_wavelength, select_bands
from rsfusion_jax.sensors.lookup import (
    get_sensor,
    list_sensors,
    mtf_gains,
    own_sensors,
    read_record,
    register_sensor,
    unnamed_sensor,
)
from rsfusion_jax.sensors.record import UNKNOWN_GAIN, Sensor, is_full_scale

__all__ = [
    "UNKNOWN_GAIN",
    "Sensor",
    "get_sensor",
    "is_full_scale",
    "list_sensors",
    "match_bands",
    "mtf_gains",
    "own_sensors",
    "read_record",
    "register_sensor",
    "rgb_by_wavelength",
    "select_bands",
    "unnamed_sensor",
]
