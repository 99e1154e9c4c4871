"""Following backs up what grows, ends politely and tells its service manager."""

from __future__ import annotations

import os
import signal
import socket
import threading
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from collective.recipe.backup import locking
from collective.recipe.backup.cli import signals
from collective.recipe.backup.destinations import Depth
from collective.recipe.backup.errors import BackupError, CommandFailed
from collective.recipe.backup.following import Pace, tell_service_manager
from collective.recipe.backup.operations.follow import follow
from collective.recipe.backup.tests.runs import NOON, Operated
from collective.recipe.backup.tests.samples import Site


class Script:
    """A clock that runs a list of actions, one before each look, and then ends."""

    def __init__(self, *actions, step: timedelta = timedelta(minutes=10)) -> None:
        self._actions = list(actions)
        self._now = NOON
        self._step = step

    def now(self) -> datetime:
        return self._now

    def wait(self) -> bool:
        self._now += self._step
        if not self._actions:
            return False
        self._actions.pop(0)()
        return True


def followed(operated: Operated, *actions, **more) -> list[str]:
    """Follow through *actions*; return what was told."""
    told: list[str] = []
    follow(operated.run("backup"), Script(*actions, **more), tell=told.append)
    return told


def test_each_growth_becomes_a_restore_point(site: Site) -> None:
    operated = Operated(site)
    tids = []

    def commit() -> None:
        tids.append(site.commit({"a": len(tids)}, {"b": b"%d" % len(tids)}))

    told = followed(operated, commit, lambda: None, commit)

    assert told == [
        "following",
        "restore point 2026-03-01-12-00-00",
        "restore point 2026-03-01-12-10-00",
        "restore point 2026-03-01-12-30-00",
    ]
    contents = site.contents()
    site.lose()
    operated.restore(tids[-1])
    assert site.contents() == contents


def test_a_transaction_that_was_being_written_is_looked_for_again(site: Site) -> None:
    """The byte that completes it does not change the size."""
    operated = Operated(site)
    before = site.filestorage.read_bytes()
    site.commit({"a": 1})
    complete = site.filestorage.read_bytes()
    voted = bytearray(complete)
    status = len(before) + 16
    voted[status : status + 1] = b"c"

    def write(data: bytes) -> None:
        with site.filestorage.open("r+b") as file:
            file.write(data)
            file.truncate()

    write(before)
    told = followed(operated, lambda: write(voted), lambda: write(complete), lambda: None)

    assert told[1:] == [
        "restore point 2026-03-01-12-00-00",
        "restore point 2026-03-01-12-20-00",
    ]
    assert operated.points()[-1].end == len(complete)


def test_the_deltas_of_an_hour_are_merged_when_it_is_over(site: Site) -> None:
    operated = Operated(site)
    tids, states = [], []

    def commit() -> None:
        tids.append(site.commit({"a": len(tids)}, {f"b{len(tids)}": b"blob"}))
        states.append(site.contents())

    followed(operated, *[commit] * 9)

    suffixes = [part.suffix for part in sorted(operated.place().filestorage.glob("2026*fs*"))]
    assert suffixes == [".fsz", ".deltafsz", *4 * [".deltafs"]]
    stamps = [point.stamp[-8:] for point in operated.points()]
    assert stamps == ["12-00-00", "12-50-00", "13-00-00", "13-10-00", "13-20-00", "13-30-00"]
    assert list(operated.destination().verify(Depth.CHECKSUMS)) == []
    for tid, contents in zip(tids, states, strict=True):
        operated.restore(tid)
        assert site.contents() == contents


def test_a_pack_starts_a_new_chain(site: Site) -> None:
    operated = Operated(site)
    site.commit({"a": 1})
    site.commit({"a": 2})

    followed(operated, site.pack)

    assert [point.full for point in operated.points()] == [True, True]


def test_a_filestorage_that_is_away_for_a_moment_is_waited_for(site: Site) -> None:
    operated = Operated(site)
    away = site.filestorage.with_name("away")

    def come_back() -> None:
        away.rename(site.filestorage)
        site.commit({"a": 1})

    told = followed(operated, lambda: site.filestorage.rename(away), come_back)

    assert len(told) == 3


def test_another_run_is_waited_for(site: Site) -> None:
    operated = Operated(site)
    other = locking.one_writer(operated.config_path.parent, "cron")
    other.__enter__()

    told = followed(operated, lambda: None, lambda: other.__exit__(None, None, None))

    assert told == ["following", "restore point 2026-03-01-12-20-00"]


def test_a_failure_ends_it_and_runs_the_failure_command(site: Site, tmp_path: Path) -> None:
    marker = tmp_path / "failed"
    operated = Operated(site, failure_command=f"touch '{marker}'")

    with pytest.raises(BackupError):
        followed(operated, lambda: site.filestorage.write_bytes(b"not a filestorage"))

    assert marker.exists()


def test_hooks_run_once_for_all_of_it(site: Site, tmp_path: Path) -> None:
    log = tmp_path / "log"
    operated = Operated(
        site, pre_command=f"echo before >> '{log}'", post_command=f"echo after >> '{log}'"
    )

    followed(operated, lambda: site.commit({"a": 1}), lambda: site.commit({"a": 2}))

    assert log.read_text().split() == ["before", "after"]


def test_a_failing_pre_command_stops_it_before_anything_is_written(site: Site) -> None:
    operated = Operated(site, pre_command="false")

    with pytest.raises(CommandFailed):
        followed(operated)

    assert not operated.place().filestorage.exists()


def test_a_signal_ends_the_wait_at_once() -> None:
    pace = Pace(600)
    with pace.ended_by_signals():
        threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGTERM)).start()
        assert pace.wait() is False


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_second_signal_is_ignored_once_the_first_asked_for_the_end(number: int) -> None:
    with signals.as_interrupts():
        with Pace(600).ended_by_signals():
            os.kill(os.getpid(), number)
        os.kill(os.getpid(), number)  # the last words are being said
    os.kill(os.getpid(), number)  # the interpreter is ending


def test_handlers_are_as_before_where_the_following_ended_by_itself() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with Pace(600).ended_by_signals():
        assert signal.getsignal(signal.SIGTERM) is not before
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_hangup_that_nohup_ignores_does_not_end_the_following() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    pace = Pace(0.01)
    with pace.ended_by_signals():
        os.kill(os.getpid(), signal.SIGHUP)
        assert pace.wait()


@pytest.mark.parametrize("abstract", [False, True])
def test_the_service_manager_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, abstract: bool
) -> None:
    name = f"@backup-test-{os.getpid()}" if abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(name.replace("@", "\0", 1) if abstract else name)
        monkeypatch.setenv("NOTIFY_SOCKET", name)

        tell_service_manager("READY=1", "STATUS=following")

        assert manager.recv(1000) == b"READY=1\nSTATUS=following"


def test_a_service_manager_that_is_gone_ends_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "gone"))

    tell_service_manager("READY=1")

    assert "cannot tell the service manager" in caplog.text


def test_without_a_service_manager_nothing_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)

    assert tell_service_manager("READY=1") is None
