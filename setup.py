"""Packages of the distribution; everything else about it stands in pyproject.toml.

The recipes lie at the top of a clone and are installed inside the package, so that no top-level
package named `configs` is left in anyone's environment. pyproject.toml can say where a package
lies, or find packages, but not both.
"""

from setuptools import find_packages, setup

setup(
    packages=[*find_packages(include=["rsfusion_jax*"]), "rsfusion_jax.configs"],
    package_dir={"rsfusion_jax.configs": "configs"},
)
