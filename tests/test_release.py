"""What is released must agree with itself: one version, one list of dependencies."""

import re
import runpy
import tomllib
from pathlib import Path

import pytest
import setuptools
import yaml

import rsfusion_jax
from rsfusion_jax.cli.main import COMMANDS

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
ON_CONDA_FORGE = {"matplotlib": "matplotlib-base", "flatbuffers": "python-flatbuffers"}


@pytest.fixture(scope="module")
def recipe():
    return yaml.safe_load((ROOT / "conda" / "recipe.yaml").read_text())


def test_one_version(recipe):
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    for version in (PROJECT["version"], citation["version"], recipe["context"]["version"]):
        assert version == rsfusion_jax.__version__


def test_the_changelog_dates_the_version_as_the_citation_does():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    heading = f"## {rsfusion_jax.__version__} - {citation['date-released']}"
    assert heading in (ROOT / "CHANGELOG.md").read_text().splitlines()


def test_the_conda_recipe_has_the_same_dependencies(recipe):
    def parts(requirement):
        name, least = re.fullmatch(r"([\w-]+) ?>=([\d.]+)", requirement).groups()
        return ON_CONDA_FORGE.get(name, name).lower(), least

    here = {parts(requirement) for requirement in PROJECT["dependencies"]}
    python, *there = recipe["requirements"]["run"]
    assert {parts(requirement) for requirement in there} == here
    assert python == "python >=${{ python_min }}"
    assert PROJECT["requires-python"] == ">=" + recipe["context"]["python_min"]
    (command,) = recipe["build"]["python"]["entry_points"]
    assert dict([command.split(" = ")]) == PROJECT["scripts"]


def test_the_image_copies_what_the_wheel_is_built_from():
    copied = {
        line[1:]
        for line in (ROOT / ".dockerignore").read_text().splitlines()
        if line.startswith("!")
    }
    assert copied == {
        "rsfusion_jax",
        "configs",
        "pyproject.toml",
        "setup.py",
        "README.md",
        *(path for path in PROJECT["license-files"] if not path.startswith("rsfusion_jax/")),
    }
    stages = re.findall(r"^FROM (\S+) AS (\S+)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    names = [name for _, name in stages]
    assert names[-1] == "cpu" and "cuda" in names
    for base, _ in stages:
        assert base in names or base.startswith("python:3.")


def test_the_text_on_an_index_page_names_no_file_beside_it(monkeypatch):
    told = {}
    monkeypatch.setattr(setuptools, "setup", lambda **options: told.update(options))
    monkeypatch.chdir(ROOT)
    runpy.run_path(str(ROOT / "setup.py"))
    text = told["long_description"]
    targets = re.findall(r"\]\(([^)]*)\)", text)
    assert targets and all(target.startswith(("https://", "#")) for target in targets)
    assert text.count("```") == (ROOT / "README.md").read_text().count("```")
    assert "docs/scenes.md" in text and "![" not in text


def test_the_readme_lists_every_command():
    text = (ROOT / "README.md").read_text()
    assert re.findall(r"^rsfusion (\w+) {3,}\w", text, re.MULTILINE) == list(COMMANDS)
