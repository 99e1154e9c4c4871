"""What all tests share: the site, and what a fresh machine may lack.

A test that needs a program says so with ``@pytest.mark.needs("rsync")`` (a page, by its
name: see test_narrative.py).  Where the program is missing the test is skipped, and the
summary says so loudly; where BACKUP_TESTS_MUST_RUN, a list with commas, names the
program, the test fails instead.  ``mounts`` is no program but the right to mount things,
which a container may lack; ``strace`` is the right to trace processes as well; ``tahoe`` is
installed by the first test that needs it.
"""

from __future__ import annotations

import gc
import logging
import os
import re
import shutil
import signal
import sys
from datetime import datetime, timedelta, timezone
from importlib import import_module
from pathlib import Path

import pytest
from hypothesis import settings

from collective.recipe.backup import times
from collective.recipe.backup.files import directories
from collective.recipe.backup.tests import grids
from collective.recipe.backup.tests.faults.outside.strace import can_trace
from collective.recipe.backup.tests.lengths import TIMES, examples
from collective.recipe.backup.tests.namespaces import can_mount
from collective.recipe.backup.tests.samples import Site
from collective.recipe.backup.tests.servers import KEY, SECRET, one_for_all, start_sshd, start_weed

LACKING = re.compile(r".* (is not installed|are not allowed)")
MUST_RUN = {name for name in os.environ.get("BACKUP_TESTS_MUST_RUN", "").split(",") if name}

# no deadline: a busy machine is no fault of ours
settings.register_profile(
    "house", deadline=None, derandomize=not TIMES, max_examples=examples(), print_blob=True
)
settings.load_profile("house")


# who starts the tests with nohup or in the background ignores these, and so would what they start
for number in (signal.SIGINT, signal.SIGHUP):
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(
            number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL
        )


def asked_in_vain(descriptor):
    """Wait for no disk, in the place of fsync and syncfs: no test cuts the power for real.

    Those that are about what is durable see what Files is asked for.
    """
    os.fstat(descriptor)  # what is closed is refused


SYNCFS = directories._syncfs
"""What waits for all of a file system."""

os.fsync = directories._syncfs = asked_in_vain
import_module("ZODB.FileStorage.FileStorage").fsync = asked_in_vain


def pytest_report_header(config):
    """Say how property tests choose their examples."""
    if not TIMES:
        return "property tests: few examples, the same ones each time"
    seed = config.getoption("--hypothesis-seed", None)
    return f"property tests: {TIMES} times as many examples, at random, seed {seed}"


def pytest_collection_finish():
    """Let the garbage collector pass over ten thousand tests, which stay: some tests call it."""
    gc.collect()
    gc.freeze()


def pytest_runtest_setup(item):
    for mark in item.iter_markers("needs"):
        [needed] = mark.args
        lack = lacks(needed)
        if lack and needed in MUST_RUN:
            pytest.fail(f"{lack}, and this test must run", pytrace=False)
        if lack:
            pytest.skip(lack)


def lacks(needed):
    """Return in words that *needed* is not there, "" if it is."""
    if needed == "mounts":
        return "" if can_mount() else f"{needed} are not allowed"
    if needed == "tahoe":
        return "" if grids.installed() else "tahoe-lafs is not installed"
    # what the tests install, and what is for administrators
    places = [os.environ.get("PATH", os.defpath), str(Path(sys.executable).parent), "/usr/sbin"]
    if not shutil.which(needed, path=os.pathsep.join(places)):
        return f"{needed} is not installed"
    return "traces are not allowed" if needed == "strace" and not can_trace() else ""


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport():
    """Let names that are no text through: xdist gives up on what UTF-8 cannot say."""
    report = (yield).get_result()
    report.sections = [
        (title, text.encode("utf-8", "backslashreplace").decode("utf-8"))
        for title, text in report.sections
    ]


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(terminalreporter):
    skipped = terminalreporter.stats.get("skipped", [])
    reasons = [report.longrepr[2] for report in skipped if isinstance(report.longrepr, tuple)]
    said = [reason.removeprefix("Skipped: ") for reason in reasons]
    lacking = sorted(filter(LACKING.fullmatch, said))
    for reason in sorted(set(lacking)):
        terminalreporter.section(f"NOT TESTED: {reason}", sep="!", red=True, bold=True)
        terminalreporter.write_line(
            f"{lacking.count(reason)} tests did not run.  Mend that and run them again."
        )


@pytest.fixture(autouse=True)
def handlers_of_signals():
    """Give back what a test leaves: a run that was asked to end ignores later signals."""
    before = [
        (number, signal.getsignal(number))
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    ]
    yield
    for number, handler in before:
        if signal.getsignal(number) is not handler:
            signal.signal(number, handler)


@pytest.fixture(autouse=True)
def handlers_of_the_root_logger():
    """Take away what a buildout in this process leaves: each one lets all lines be told again."""
    root = logging.getLogger()
    before, level = list(root.handlers), root.level
    yield
    root.setLevel(level)
    for handler in list(root.handlers):
        if type(handler) is logging.StreamHandler and handler not in before:
            root.removeHandler(handler)


@pytest.fixture
def site(tmp_path):
    """A site with its first transaction and nothing else."""
    return Site(tmp_path / "site")


@pytest.fixture(scope="session")
def weed(tmp_path_factory):
    """The port where SeaweedFS speaks S3."""
    with one_for_all(tmp_path_factory, "weed", start_weed) as started:
        yield started.port


@pytest.fixture(scope="session")
def sshd(tmp_path_factory):
    """OpenSSH's server: its port, and the directory of its keys."""
    with one_for_all(tmp_path_factory, "sshd", start_sshd) as started:
        yield started


@pytest.fixture(scope="session")
def grid(tmp_path_factory):
    """A grid of Tahoe-LAFS: the port of its web API, and the directory of its nodes."""
    with one_for_all(tmp_path_factory, "grid", grids.start_grid) as started:
        yield started


@pytest.fixture
def grid_directory(grid, impatient, monkeypatch):
    """The capability of a new directory in the grid, and no node in the environment."""
    for name in [name for name in os.environ if name.startswith("TAHOE_")]:
        monkeypatch.delenv(name)
    return grids.new_directory(grid.port)


@pytest.fixture
def ssh_home(tmp_path, monkeypatch, impatient):
    """A home with nothing of ssh in it, and no agent."""
    home = tmp_path / "home"
    (home / ".ssh").mkdir(parents=True, mode=0o700)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    return home


@pytest.fixture
def in_a_home_for_sshd(sshd, ssh_home):
    """A home that knows the server and has the key of the site."""
    keys, name = Path(sshd.directory), f"[127.0.0.1]:{sshd.port}"
    (ssh_home / ".ssh" / "known_hosts").write_text(f"{name} {(keys / 'host.pub').read_text()}")
    (ssh_home / ".ssh" / "config").write_text(f"Host *\n  IdentityFile {keys / 'site'}\n")
    return ssh_home


@pytest.fixture
def impatient(monkeypatch):
    """Let stores elsewhere be given up soon."""
    from collective.recipe.backup.stores.buckets import bucketplace
    from collective.recipe.backup.stores.sftp import sftpsession
    from collective.recipe.backup.stores.tahoe import tahoenode

    hasty = tahoenode.TahoePatience(connect=3, silent=10, whole=60, pauses=(0.05, 0.1, 0.5))
    monkeypatch.setattr(tahoenode, "PATIENCE", hasty)
    monkeypatch.setattr(
        sftpsession, "PATIENCE", sftpsession.SftpPatience(connect=3, pauses=(0.05, 0.1))
    )

    patience = bucketplace.Patience(connect=2, silent=5, whole=20, retry=0.5, pauses=(0.02, 0.1))
    monkeypatch.setattr(bucketplace, "PATIENCE", patience)


@pytest.fixture
def s3_credentials(impatient, monkeypatch):
    """The environment in which the server takes us for the site."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)


@pytest.fixture
def command(monkeypatch):
    """Let a test call a command as in a process of its own: without settings from around it.

    The logger, which a command sets up, is as before afterwards.
    """
    for name in list(os.environ):
        if name.startswith(("SITEBACKUP_", "COLLECTIVE_BACKUP_")):
            monkeypatch.delenv(name)
    logger = logging.getLogger("backup")
    before = logger.handlers[:], logger.propagate, logger.level
    yield
    logger.handlers[:], logger.propagate, level = before
    logger.setLevel(level)


@pytest.fixture
def leaping(monkeypatch):
    """Let the clock leap where a run would wait for the next second, since stamps name seconds.

    Not for tests that compare stamps with the clock of another process.
    """
    ahead = timedelta(0)

    def pause(seconds):
        nonlocal ahead
        ahead += timedelta(seconds=seconds)

    monkeypatch.setattr(times, "pause", pause)
    monkeypatch.setattr(times, "utcnow", lambda: datetime.now(timezone.utc) + ahead)
