"""Configuration of the site: `sphinx-build -W docs build/site` after `pip install -e '.[docs]'`.

The Markdown pages of this folder are read on the repository's web page too. What they link to
outside of it is translated here: to the page of the site that shows the same file, or to a copy
of the file for download. Nothing is downloaded when the site is built.
"""

import os
import posixpath
import re
import sys
import tempfile
from pathlib import Path

from docutils import nodes

import rsfusion_jax

# Cells of notebooks call `rsfusion`, which lies beside the Python that builds the site.
os.environ["PATH"] = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
os.environ["JAX_PLATFORMS"] = "cpu"
# IPython itself gives `!command` a terminal, which progress bars flood, and goes on where it fails.
_ipython = tempfile.TemporaryDirectory()
_startup = Path(_ipython.name, "profile_default", "startup")
_startup.mkdir(parents=True)
_startup.joinpath("commands.py").write_text("""
import subprocess


def _run(command):
    command = get_ipython().var_expand(command, depth=1)
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    print(done.stdout, end="")
    if done.returncode:
        raise RuntimeError(f"status {done.returncode}: {command}")


get_ipython().system = _run
""")
os.environ["IPYTHONDIR"] = _ipython.name
os.environ["COLUMNS"] = "130"  # tables of scores; wide output scrolls

project = "rsfusion_jax"
author = "rsfusion_jax contributors"
project_copyright = author
version = release = rsfusion_jax.__version__

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
]
exclude_patterns = ["_build"]
nitpicky = True
# Types of other packages: their inventories would have to be downloaded.
nitpick_ignore_regex = [
    (
        r"py:(class|obj|exc)",
        r"(jax|jaxlib|jnp|flax|nn|np|numpy|xarray|collections|pathlib|ml_collections|Path|Mapping"
        r"|h5py|rasterio)(\..*)?",
    ),
    (r"py:class", r"(optional|dtype|callable|array|None|str|int|float|bool|Any|Callable)"),
]

# Markdown: headings are targets, as on the repository's web page.
myst_enable_extensions = ["colon_fence", "dollarmath", "fieldlist"]
myst_heading_anchors = 4

# Notebooks: run once when the site is built, in a folder of their own; an error ends the build.
nb_execution_mode = "cache"
nb_execution_in_temp = True
nb_execution_timeout = 600
nb_execution_raise_on_error = True
nb_execution_show_tb = True
nb_merge_streams = True
nb_number_source_lines = False
nb_cell_metadata_key = "mystnb"

# Docstrings.
autodoc_typehints = "none"  # the Args sections say shape, unit and range
autodoc_member_order = "bysource"
autodoc_class_signature = "mixed"
napoleon_numpy_docstring = False
napoleon_use_ivar = True
napoleon_use_rtype = False
napoleon_custom_sections = ["Reference"]
default_role = "py:obj"
add_module_names = False
python_maximum_signature_line_length = 78
toc_object_entries_show_parents = "hide"

html_theme = "furo"
html_title = f"rsfusion_jax {version}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sourcelink = False
html_theme_options = {"navigation_with_keys": True}
templates_path = []

_REPOSITORY = Path(__file__).resolve().parents[1]
_SHOWN = {
    "changelog": "CHANGELOG.md",
    "contributing": "CONTRIBUTING.md",
    "security": "SECURITY.md",
    "measured/benchmarks": "benchmarks/README.md",
    "measured/metrics_speed": "benchmarks/speed/metrics_speed.md",
    "measured/optimisations": "benchmarks/speed/NOTES.md",
    "measured/scene_statistics": "benchmarks/studies/scene_statistics.md",
    "measured/speed": "benchmarks/speed/speed.md",
    "measured/synthetic_transfer": "benchmarks/studies/synthetic_transfer.md",
}
"""Pages that show a file from outside of this folder in place of their own text."""
_PAGES = {file: f"docs/{page}.md" for page, file in _SHOWN.items()} | {"README.md": "docs/index.md"}
_LINK = re.compile(r"\[([^\]]*)\]\((?![a-z+]+:|#)([^)\s#]+)(#[^)\s]*)?\)")


def _read_page(app, docname, source):
    """Put in the file that a page shows, and translate the links that leave this folder."""
    file, text = f"docs/{docname}.md", source[0]
    if docname in _SHOWN:
        file = _SHOWN[docname]
        text = (_REPOSITORY / file).read_text()
        app.env.note_dependency(str(_REPOSITORY / file))
    here, there = posixpath.dirname(file), posixpath.dirname(f"docs/{docname}")

    def translated(link):
        words, target, anchor = link.groups(default="")
        target = posixpath.normpath(posixpath.join(here, target))
        if (_REPOSITORY / target).is_dir():
            return words  # nothing on the site shows a folder
        return f"[{words}]({posixpath.relpath(_PAGES.get(target, target), there)}{anchor})"

    source[0] = _LINK.sub(translated, text)


def _resolve_short_name(app, env, node, contnode):
    """Link a name that a docstring shortens or takes from where it is exported; else show code."""
    if (node.get("refdomain"), node.get("reftype")) != ("py", "obj"):
        return None
    domain = env.domains.python_domain
    *packages, name = node["reftarget"].removeprefix("rsfusion_jax.").split(".")
    found = [known for known in domain.objects if known.endswith(f".{name}")]
    found = [known for known in found if not packages or known.split(".")[1] == packages[0]]
    if len(found) == 1 and (packages or name in rsfusion_jax.__all__):
        page = node.get("refdoc", env.docname)
        return domain.resolve_xref(env, page, app.builder, "obj", found[0], node, contnode)
    return nodes.literal("", contnode.astext(), classes=["code"])


def _indented_is_literal(app, what, name, obj, options, lines):
    """Show what a docstring indents below a paragraph, a formula or an example, as it stands."""
    for index in range(len(lines) - 1, 0, -1):
        line = lines[index]
        before = next((text for text in reversed(lines[:index]) if text.strip()), "")
        deeper = len(line) - len(line.lstrip()) > len(before) - len(before.lstrip())
        if line.strip() and not lines[index - 1].strip() and deeper:
            indent = before[: len(before) - len(before.lstrip())]
            lines[index:index] = [f"{indent}::", ""]


def setup(app):
    """Connect what is translated."""
    app.connect("autodoc-process-docstring", _indented_is_literal, priority=400)
    app.connect("source-read", _read_page)
    app.connect("missing-reference", _resolve_short_name)
