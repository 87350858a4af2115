"""Packages of the distribution; everything else about it stands in pyproject.toml.

The recipes lie at the top of a clone and are installed inside the package, so that no top-level
package named `configs` is left in anyone's environment. pyproject.toml can say where a package
lies, or find packages, but not both.

The description on a package index is the README without what is only found in the repository: an
index page has no files beside it, so pictures are left out and links to files become their words.
"""

import re
from pathlib import Path

from setuptools import find_packages, setup

BESIDE = r"\]\((?![a-z]+:|#)[^)]*\)"
"""The end of a Markdown link or picture whose target is a file beside the README."""

text = (Path(__file__).parent / "README.md").read_text(encoding="utf-8")
# A picture goes with its caption, the paragraph below it.
text = re.sub(rf"!\[[^\]]*{BESIDE}\n\n\*[^*]*\*\n\n", "", text)
text = re.sub(rf"\[([^\]]*){BESIDE}", r"\1", text)

setup(
    long_description=text,
    long_description_content_type="text/markdown",
    packages=[*find_packages(include=["rsfusion_jax*"]), "rsfusion_jax.configs"],
    package_dir={"rsfusion_jax.configs": "configs"},
)
