from __future__ import annotations

import subprocess
import sys
from configparser import ConfigParser
from pathlib import Path

import pytest

import collective.recipe.backup as package

PROJECT = Path(__file__).parents[6]


def test_the_version_is_the_same_in_both_places():
    metadata = ConfigParser()
    metadata.read(PROJECT / "setup.cfg")
    assert metadata["metadata"]["version"] == package.__version__


def test_buildout_finds_the_recipe():
    metadata = ConfigParser()
    metadata.read(PROJECT / "setup.cfg")
    entry_point = metadata["options.entry_points"]["zc.buildout"].strip()
    assert entry_point == f"default = {package.__name__}:{package.Recipe.__name__}"


def test_there_is_nothing_else_to_import():
    with pytest.raises(AttributeError, match="no attribute 'recipes'"):
        package.recipes  # noqa: B018  the access is the point


@pytest.mark.parametrize("room", ["", ".cli", ".operations.backup", ".operations.restore"])
def test_scripts_import_neither_buildout_nor_zodb(room):
    """Both take longer than a backup of a site where nothing changed."""
    code = f"import sys, {package.__name__}{room}; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": ":".join(filter(None, sys.path))},
        capture_output=True,
        check=True,
        text=True,
    ).stdout.split()
    assert f"{package.__name__}{room}" in loaded
    heavy = {"ZODB", "BTrees", "persistent", "zc.buildout", "pkg_resources", "setuptools"}
    assert heavy.isdisjoint(loaded)
