"""repozo of every ZODB that this Python can run reads and continues what we wrote, and we theirs.

The versions come from the package index, each beside the packages that are installed here.
"""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from collective.recipe.backup.files import Files
from collective.recipe.backup.filestorage.transactionlog import TransactionLog
from collective.recipe.backup.progress import Silent
from collective.recipe.backup.repozo.chainbackup import Orders, back_up
from collective.recipe.backup.repozo.chaincheck import verify_contents, verify_names
from collective.recipe.backup.repozo.chains import read_directory
from collective.recipe.backup.repozo.recover import recover
from collective.recipe.backup.tests.conftest import MUST_RUN
from collective.recipe.backup.tests.runs import NOON
from collective.recipe.backup.tests.samples import Site

pytestmark = pytest.mark.slow

VERSIONS = ["5.6.0", "5.7.0", "5.8.1", "6.0.1", "6.1", "6.2", "6.3", "6.4"]
"""The last release of each line that runs on Python 3.10 or later."""

INDEX = "package-index"
"""How BACKUP_TESTS_MUST_RUN names what these tests need."""


AT = """
import runpy, sys, time
moment, gmtime = float(sys.argv.pop(1)), time.gmtime
time.gmtime = lambda *given: gmtime(*(given or [moment]))
runpy.run_module("ZODB.scripts.repozo", run_name="__main__", alter_sys=True)
"""
"""What starts repozo at a moment of ours: it calls its files by the second."""


class Theirs:
    """repozo of one version of ZODB; each call is an hour later than the one before."""

    now = NOON

    def __init__(self, packages: Path) -> None:
        self._environment = {**os.environ, "PYTHONPATH": str(packages), "PYTHONWARNINGS": "ignore"}

    def __call__(self, *arguments: object) -> None:
        self.now += timedelta(hours=1)
        command = [sys.executable, "-c", AT, str(self.now.timestamp()), *map(str, arguments)]
        done = subprocess.run(command, env=self._environment, capture_output=True, check=False)
        assert done.returncode == 0, done.stderr.decode()


@pytest.fixture(scope="module", params=VERSIONS)
def theirs(request, tmp_path_factory) -> Theirs:
    packages = tmp_path_factory.mktemp(f"zodb-{request.param}")
    # six is what ZODB 5 needs besides
    install = ["install", "--quiet", "--quiet", "--no-deps", "--target", str(packages)]
    command = [sys.executable, "-m", "pip", *install, f"ZODB=={request.param}", "six"]
    done = subprocess.run(command, capture_output=True, check=False)
    if done.returncode:
        reason = f"ZODB {request.param} is not installed, and the package index not reached"
        if INDEX in MUST_RUN:
            pytest.fail(f"{reason}: {done.stderr.decode()}", pytrace=False)
        pytest.skip(reason)
    return Theirs(packages)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    path = tmp_path / "backups"
    path.mkdir()
    return path


def ours(site: Site, directory: Path, theirs: Theirs, *, level: int | None) -> None:
    theirs.now += timedelta(hours=1)
    with TransactionLog(site.filestorage) as log:
        orders = Orders(level=level)
        back_up(log, directory, orders, files=Files(), now=theirs.now, progress=Silent())


def recovered(directory: Path) -> bytes:
    data = bytearray()
    chain = read_directory(directory).chains[-1]
    recover(chain, data.extend, through=None, until=None, progress=Silent())
    return bytes(data)


@pytest.mark.parametrize("level", [2, None], ids=["gzip", "plain"])
def test_our_repozo_and_that_of_zodb_continue_each_other(
    site: Site, directory: Path, theirs: Theirs, level
) -> None:
    gzip = ["-z"] if level else []
    for number in range(4):
        site.commit({"a": number}, {"b": b"%d" % number})
        if number % 2:
            theirs("-B", "-Q", "-f", site.filestorage, "-r", directory, *gzip)
        else:
            ours(site, directory, theirs, level=level)

        [chain] = read_directory(directory).chains
        assert len(chain.parts) == number + 1
        assert recovered(directory) == site.filestorage.read_bytes()
        assert [*verify_names(directory), *verify_contents(directory, Silent())] == []
        output = directory.with_name("theirs.fs")
        theirs("-R", "-w", "-o", output, "-r", directory)
        assert output.read_bytes() == site.filestorage.read_bytes()
    theirs("-V", "-r", directory)


def test_a_chain_that_they_began_is_continued_by_us(
    site: Site, directory: Path, theirs: Theirs
) -> None:
    site.commit({"a": 1})
    theirs("-B", "-F", "-z", "-f", site.filestorage, "-r", directory)
    site.commit({"a": 2})

    ours(site, directory, theirs, level=2)

    [chain] = read_directory(directory).chains
    assert [part.full for part in chain.parts] == [True, False]
    assert recovered(directory) == site.filestorage.read_bytes()
    theirs("-V", "-r", directory)
