"""A real Zope, in an environment of its own, with this distribution as its wheel installs it."""

from __future__ import annotations

import fcntl
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from collective.recipe.backup.tests.conftest import MUST_RUN

PROJECT = Path(__file__).parents[5]
ZOPE = ("Zope >= 5.8", "ZEO >= 6", "Products.BTreeFolder2")
PLONE = (
    "Products.CMFPlone == 6.2.2",
    "plone.app.layout == 6.0.2",  # the newest does not go with that CMFPlone
    "plone.classicui",
    "plone.api",
)

INDEX = "package-index"
"""How BACKUP_TESTS_MUST_RUN names what these tests need."""

_BUILT_FROM = ("pyproject.toml", "setup.cfg", "setup.py", "README.rst", "CHANGES.rst", "LICENSE")


class Zope:
    """An environment in which a Zope is installed."""

    def __init__(self, environment: Path) -> None:
        """Take what ``installed`` has made."""
        self.bin = environment / "bin"

    def make_instance(self, directory: Path, database: str) -> Path:
        """Make an instance in *directory* with that *database*; return its script."""
        made = [self.bin / "mkwsgiinstance", "-d", directory, "-u", "admin:admin"]
        subprocess.run(made, check=True, capture_output=True)
        return self.make_script(directory, "instance", database)

    def make_script(self, directory: Path, name: str, database: str) -> Path:
        """Return a script like bin/instance of an instance that is made, for *database*."""
        conf = directory / "etc" / f"{name}.conf"
        conf.write_text(f"%define INSTANCE {directory}\ninstancehome $INSTANCE\n{database}\n")
        script = directory / name
        script.write_text(f'#!/bin/sh\nw=$1\nshift\nexec {self.bin}/zconsole $w {conf} "$@"\n')
        script.chmod(0o755)
        return script


def run(script: Path, code: str) -> str:
    """Let an instance run *code*; return what that has printed."""
    file = script.with_suffix(".py")
    file.write_text(code)
    done = subprocess.run([script, "run", file], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def installed(base: Path, name: str, wanted: tuple[str, ...]) -> Zope:
    """Return what pip installs of *wanted* below *base*, once for all processes of a test run.

    Skips loudly where that cannot be.
    """
    environment = base / f"environment-{name}"
    with (base / f"{environment.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (environment / "done").exists():
            _make(environment, name, wanted)
            (environment / "done").touch()
    return Zope(environment)


def _make(environment: Path, name: str, wanted: tuple[str, ...]) -> None:
    """Skip if an earlier attempt has failed: another would take as long."""
    source = environment / "source"
    if not environment.exists():
        subprocess.run([sys.executable, "-m", "venv", environment], check=True)
        _copy_project(source)
        pip = [environment / "bin" / "pip", "install", "--quiet", "--prefer-binary"]
        done = subprocess.run([*pip, *wanted, source], check=False, capture_output=True, text=True)
        if done.returncode == 0:
            return
        (environment / "failed").write_text(done.stderr)
    reason = f"{name}, from the package index, is not installed"
    if INDEX in MUST_RUN:
        pytest.fail(f"{reason}: {(environment / 'failed').read_text()}", pytrace=False)
    pytest.skip(reason)


def _copy_project(target: Path) -> None:
    """Copy what a wheel is built from: building one leaves files behind."""
    target.mkdir()
    for name in _BUILT_FROM:
        shutil.copy(PROJECT / name, target)
    left_out = shutil.ignore_patterns("tests", "__pycache__", "*.egg-info")
    shutil.copytree(PROJECT / "src", target / "src", ignore=left_out)
