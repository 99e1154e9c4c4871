"""Real scripts that are killed or asked to end at marked points."""

from __future__ import annotations

import signal
import socket
import time
from pathlib import Path

import pytest

from collective.recipe.backup.destinations import Depth
from collective.recipe.backup.errors import DONE, Interrupted
from collective.recipe.backup.tests.runs import Operated
from collective.recipe.backup.tests.samples import Site, contents_of
from collective.recipe.backup.tests.scripts import Mark, Script, running, wait_until

SOON = 1.0
"""Seconds after which somebody who asked for an end becomes impatient."""

INCREMENTAL = [
    Mark("write", "*.deltafsz.*.partial"),
    Mark("rename", "*.deltafsz"),
    Mark("rename", "*.dat"),
    Mark("write", "0x*.blob.*.partial"),
    Mark("rename", "0x*.blob"),
    Mark("write", "checksums.added"),
    Mark("rename", "*.json"),
]
FULL_AND_PRUNE = [
    Mark("write", "*.fsz.*.partial"),
    Mark("rename", "*.dat"),
    Mark("link", "0x*.blob"),
    Mark("rename", "blobstorage.*"),
    Mark("rename", "latest"),
    Mark("unlink", "*.json"),
    Mark("rename", "*.dat.pruned"),
    Mark("unlink", "*.fsz"),
    Mark("rmdir", "*"),
]
RESTORE = [
    Mark("write", "Data.fs.replaced.*.partial"),
    Mark("fsync", "files"),
    Mark("rename", "Data.fs.restore.json"),
    Mark("rename", "0x*.blob"),
    Mark("fsync", "blobstorage"),
    Mark("rename", "Data.fs.index.replaced"),
    Mark("truncate", "Data.fs"),
    Mark("unlink", "Data.fs.restoring"),
]


def named(marks: list[Mark]) -> list:
    return [pytest.param(mark, id=f"{mark.operation} {mark.pattern}") for mark in marks]


@pytest.fixture
def operated(site: Site) -> Operated:
    """A site with a backup, and with more work since."""
    operated = Operated(site, keep=1)
    site.commit({"a": 1, "long": "x" * 9000}, {"b": b"first"})
    assert run(operated, "backup") == DONE
    site.commit({"a": 2}, {"b": b"second", "c": b"new"})
    return operated


def run(operated: Operated, verb: str, *arguments: object) -> int:
    return Script(operated.config_path, verb, *arguments).wait()


def kill(operated: Operated, mark: Mark, verb: str, *arguments: object) -> None:
    """Run a script up to *mark*, and no further."""
    with running(Script(operated.config_path, verb, *arguments, mark=mark)) as script:
        script.wait_for_mark()
        script.kill()
    assert script.process.returncode == -signal.SIGKILL


def check_next(operated: Operated, contents: dict) -> None:
    """Check that the next backup succeeds, leaves nothing behind, and restores *contents*."""
    assert all(point.whole for point in operated.points() if point.restorable)
    assert any(point.restorable for point in operated.points())
    assert run(operated, "backup") == DONE
    assert list(operated.destination().verify(Depth.CHECKSUMS)) == []
    assert all(point.whole for point in operated.points())
    assert partial_names(operated) == []
    operated.site.lose()
    assert run(operated, "restore") == DONE
    assert operated.site.contents() == contents


def partial_names(operated: Operated) -> list[Path]:
    return sorted(operated.site.directory.rglob("*.partial"))


@pytest.mark.parametrize("mark", named(INCREMENTAL))
def test_a_backup_that_is_killed_costs_nothing(operated: Operated, mark: Mark) -> None:
    contents = operated.site.contents()
    kill(operated, mark, "backup")
    check_next(operated, contents)


@pytest.mark.parametrize("mark", named(FULL_AND_PRUNE))
def test_a_full_backup_that_is_killed_costs_nothing(operated: Operated, mark: Mark) -> None:
    contents = operated.site.contents()
    kill(operated, mark, "backup", "--full")
    check_next(operated, contents)


@pytest.mark.parametrize("mark", named(RESTORE))
def test_a_restore_that_is_killed_changes_nothing_or_is_finished(
    operated: Operated, mark: Mark
) -> None:
    live = operated.site.contents()
    assert run(operated, "backup") == DONE
    operated.site.commit({"a": 3}, {"b": b"third"})
    later = operated.site.contents()
    kill(operated, mark, "restore")

    if not operated.site.filestorage.with_name("Data.fs.restore.json").exists():
        assert operated.site.contents() == later
    assert run(operated, "restore") == DONE
    assert operated.site.contents() == live


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_backup_that_is_asked_to_end_takes_back_what_is_half_done(
    operated: Operated, number: signal.Signals
) -> None:
    contents = operated.site.contents()
    mark = Mark("rename", "*.deltafsz")
    with running(Script(operated.config_path, "backup", mark=mark)) as script:
        script.wait_for_mark()
        script.process.send_signal(number)
        assert script.wait() == Interrupted.exit_code
    assert "Traceback" not in script.output
    assert partial_names(operated) == []
    check_next(operated, contents)


def test_a_restore_that_is_interrupted_among_its_renames_says_so(operated: Operated) -> None:
    live = operated.site.contents()
    assert run(operated, "backup") == DONE
    operated.site.commit({"a": 3}, {"b": b"third"})
    mark = Mark("truncate", "Data.fs")
    with running(Script(operated.config_path, "restore", mark=mark)) as script:
        script.wait_for_mark()
        script.process.send_signal(signal.SIGINT)
        assert script.wait() == Interrupted.exit_code
    assert "WARNING: broken off in the middle: part of the site is what it was" in script.output
    assert "run the same command again, which finishes it" in script.output
    assert run(operated, "restore") == DONE
    assert operated.site.contents() == live


def test_a_restore_that_is_interrupted_before_them_has_nothing_to_say(operated: Operated) -> None:
    mark = Mark("write", "Data.fs.restore.json.*.partial")
    before = operated.site.contents()
    with running(Script(operated.config_path, "restore", mark=mark)) as script:
        script.wait_for_mark()
        script.process.send_signal(signal.SIGINT)
        assert script.wait() == Interrupted.exit_code
    assert "WARNING" not in script.output
    assert operated.site.contents() == before


@pytest.mark.parametrize(
    ("number", "code"),
    [(signal.SIGTERM, DONE), (signal.SIGHUP, DONE), (signal.SIGINT, Interrupted.exit_code)],
)
def test_a_standby_that_is_asked_to_end_in_the_middle_of_a_round(
    operated: Operated, tmp_path: Path, number: signal.Signals, code: int
) -> None:
    to, live = tmp_path / "copy", operated.site.contents()
    assert run(operated, "backup") == DONE
    mark = Mark("rename", "Data.fs")
    arguments = ("--to", to, "--every", 0.2)
    with running(Script(operated.config_path, "standby", *arguments, mark=mark)) as script:
        script.wait_for_mark()
        assert not (to / "Data.fs").exists()
        script.process.send_signal(number)
        script.go_on()
        assert script.wait() == code
    assert "Traceback" not in script.output
    if code == DONE:
        assert "ended, as asked for" in script.output
        assert contents_of(to / "Data.fs", to / "blobstorage") == live
    assert run(operated, "standby", "--to", to, "--promote") == DONE
    assert contents_of(to / "Data.fs", to / "blobstorage") == live


def test_following_that_waits_ends_at_once(operated: Operated, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(60)
        script = Script(
            operated.config_path,
            *("backup", "--follow", "--every", 3600),
            NOTIFY_SOCKET=str(tmp_path / "notify"),
        )
        with running(script):
            assert b"READY=1" in manager.recv(1000)
            wait_until(lambda: len(operated.points()) == 2, "it does not follow")
            wait_until(lambda: "done" in script.output, "it does not say so")
            assert ended(script) == DONE
        told = []
        while not told or b"STOPPING=1" not in told[-1]:
            told.append(manager.recv(1000))
    assert "ended, as asked for" in script.output


def test_following_that_writes_ends_when_that_is_done(operated: Operated) -> None:
    contents = operated.site.contents()
    mark = Mark("rename", "*.deltafs")
    script = Script(operated.config_path, "backup", "--follow", "--every", 3600, mark=mark)
    with running(script):
        script.wait_for_mark()
        script.process.terminate()
        time.sleep(0.1)
        assert script.process.poll() is None
        script.go_on()
        assert script.wait() == DONE
    assert len(operated.points()) == 2
    check_next(operated, contents)


def ended(script: Script) -> int:
    """Ask *script* to end and return its exit code; it must not take long."""
    asked = time.monotonic()
    script.process.terminate()
    code = script.wait()
    assert time.monotonic() - asked < SOON
    return code
