"""The hooks around a run, and who is told of it."""

from __future__ import annotations

import json
import logging
import os
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import pytest

from collective.recipe.backup import history, pinging
from collective.recipe.backup.config import SNAPSHOT
from collective.recipe.backup.errors import (
    BackupError,
    CommandFailed,
    IntegrityError,
    Interrupted,
    InUse,
)
from collective.recipe.backup.files import Files
from collective.recipe.backup.locking import one_writer
from collective.recipe.backup.operations.hooks import ERROR_LIMIT, hooks_around
from collective.recipe.backup.operations.restore import restore
from collective.recipe.backup.operations.restoreorder import RestoreOrder
from collective.recipe.backup.tests.faults.harness import Fault, FaultyFiles
from collective.recipe.backup.tests.runs import NOON, Operated
from collective.recipe.backup.tests.samples import Site
from collective.recipe.backup.tests.watcher import status, watching

SAY = """env | grep ^BACKUP_ | sort | sed 's/^/{0} /' >> "{1}"; echo {0} says this"""


class Hooked:
    """A site with all three hooks, which write down what they are told."""

    def __init__(self, site: Site, tmp_path: Path, **options) -> None:
        self.site = site
        self.told = tmp_path / "told"
        hooks = {
            f"{name}_command": SAY.format(name, self.told) for name in ("pre", "post", "failure")
        }
        for name in ("pre_command", "post_command", "failure_command"):
            if name in options:
                options[name] = f"{hooks[name]}\n{options[name]}"
        self.operated = Operated(site, **{**hooks, **options})

    @property
    def ran(self) -> list[str]:
        """The hooks that ran, in order."""
        lines = self.told.read_text().splitlines() if self.told.exists() else []
        return list(dict.fromkeys(line.split()[0] for line in lines))

    def told_to(self, hook: str) -> dict[str, str]:
        lines = [line.split(" ", 1) for line in self.told.read_text().splitlines()]
        return dict(text.split("=", 1) for name, text in lines if name == hook)

    @property
    def runs(self) -> list[history.RunRecord]:
        return history.read(self.operated.place().filestorage)


@pytest.fixture(autouse=True)
def nothing_else_is_told(monkeypatch):
    """Take away what the machine that runs the tests says under such names."""
    for name in [name for name in os.environ if name.startswith("BACKUP_")]:
        monkeypatch.delenv(name)


@pytest.fixture
def log(monkeypatch, caplog):
    """What is said, from warnings up."""
    monkeypatch.setattr(logging.getLogger("backup"), "propagate", True)
    caplog.set_level("WARNING", "backup")
    return caplog


def broken(site: Site) -> None:
    site.filestorage.write_bytes(b"something else")


# hooks


def test_a_backup_that_went_well_runs_pre_and_post(site, tmp_path):
    hooked = Hooked(site, tmp_path)
    outcome = hooked.operated.backup()
    assert hooked.ran == ["pre", "post"]
    common = {
        "BACKUP_PART": "backup",
        "BACKUP_VERB": "backup",
        "BACKUP_DESTINATION": "standard",
    }
    assert hooked.told_to("pre") == common
    told = hooked.told_to("post")
    assert told.pop("BACKUP_SECONDS").isdigit()
    assert told == {
        **common,
        "BACKUP_OUTCOME": "done",
        "BACKUP_EXIT_CODE": "0",
        "BACKUP_ERROR": "",
        "BACKUP_FAILED_PLACES": "",
        "BACKUP_RESTORE_POINT": outcome.point.stamp,
    }


def test_a_backup_that_failed_runs_failure_in_place_of_post(site, tmp_path):
    hooked = Hooked(site, tmp_path)
    broken(site)
    with pytest.raises(IntegrityError) as caught:
        hooked.operated.backup()
    assert hooked.ran == ["pre", "failure"]
    told = hooked.told_to("failure")
    assert told["BACKUP_OUTCOME"] == "failed"
    assert told["BACKUP_EXIT_CODE"] == "3"
    assert told["BACKUP_ERROR"] == str(caught.value)
    assert told["BACKUP_RESTORE_POINT"] == ""


def test_a_pre_command_that_fails_stops_before_anything_is_written(site, tmp_path):
    hooked = Hooked(site, tmp_path, pre_command="false")
    with pytest.raises(CommandFailed, match="pre_command failed: exit status 1"):
        hooked.operated.backup()
    assert hooked.ran == ["pre", "failure"]
    assert hooked.told_to("failure")["BACKUP_EXIT_CODE"] == "7"
    assert not hooked.operated.place().filestorage.exists()


def test_a_disk_that_pre_command_could_not_mount_is_not_written_to(site, tmp_path):
    hooked = Hooked(site, tmp_path, pre_command="false")
    mount_point = hooked.operated.place().filestorage
    mount_point.mkdir()
    with pytest.raises(CommandFailed):
        hooked.operated.backup()
    assert list(mount_point.iterdir()) == []


def test_a_disk_that_a_hook_unmounts_is_not_written_to_afterwards(site, tmp_path):
    disk = tmp_path / "disk"
    location = site.directory / "var" / "backups"
    hooked = Hooked(
        site,
        tmp_path,
        pre_command=f"mkdir -p '{disk}' && rmdir '{location}'; mv '{disk}' '{location}'",
        post_command=f"mv '{location}' '{disk}' && mkdir '{location}'",
    )
    location.mkdir(parents=True)
    hooked.operated.backup()
    assert list(location.iterdir()) == []
    [run] = history.read(disk)
    assert run.outcome == "done"


def test_a_restore_finds_the_backups_on_a_disk_that_pre_command_mounts(site, tmp_path):
    disk = tmp_path / "disk"
    location = site.directory / "var" / "backups"
    site.commit({"page": "good"}, {"file": b"good"})
    good = site.contents()
    Operated(site).backup()
    location.rename(disk)
    location.mkdir()
    site.commit({"page": "bad"})
    hooked = Hooked(
        site,
        tmp_path,
        pre_command=f"rmdir '{location}' && mv '{disk}' '{location}'",
        # nothing of it may be open when it is unmounted
        post_command=f"""
            ls -l /proc/$PPID/fd > '{tmp_path}/open'
            mv '{location}' '{disk}' && mkdir '{location}'
        """,
    )
    questions = []

    def agree(question):
        questions.append(question)
        return True

    assert restore(hooked.operated.run("restore", ask=agree), RestoreOrder())
    assert site.contents() == good
    assert hooked.ran == ["pre", "post"]
    assert "with what the backups hold once pre_command has run" in questions[0]
    assert str(site.filestorage) in questions[0]
    assert str(location) not in (tmp_path / "open").read_text()


def test_a_restore_that_is_not_agreed_to_runs_no_hook(site, tmp_path):
    hooked = Hooked(site, tmp_path)
    Operated(site).backup()
    assert not restore(hooked.operated.run("restore", ask=lambda _question: False), RestoreOrder())
    assert hooked.ran == []


def test_a_post_command_that_fails_fails_the_run_and_costs_no_restore_point(site, tmp_path):
    hooked = Hooked(site, tmp_path, post_command="exit 9")
    with pytest.raises(CommandFailed, match="post_command failed: exit status 9"):
        hooked.operated.backup()
    assert hooked.ran == ["pre", "post"]
    assert len(hooked.operated.points()) == 1
    [run] = hooked.runs
    assert (run.outcome, run.exit_code) == ("failed", 7)


def test_the_error_of_the_backup_counts_whatever_failure_command_does(site, tmp_path, log):
    hooked = Hooked(site, tmp_path, failure_command="exit 9")
    broken(site)
    with pytest.raises(IntegrityError):
        hooked.operated.backup()
    assert "failure_command failed: exit status 9" in log.messages


def test_an_interrupt_runs_failure_command(site, tmp_path):
    hooked = Hooked(site, tmp_path)
    with pytest.raises(Interrupted), hooks_around(hooked.operated.run("backup")):
        raise Interrupted("ended by SIGTERM")
    assert hooked.told_to("failure")["BACKUP_EXIT_CODE"] == "130"


def test_a_run_that_meets_another_runs_no_hook(site, tmp_path):
    hooked = Hooked(site, tmp_path)
    with one_writer(hooked.operated.config_path.parent, "the other"), pytest.raises(InUse):
        hooked.operated.backup()
    assert hooked.ran == []


def test_what_the_site_lacks_is_no_failure_of_the_backup(site, tmp_path):
    site.commit(blobs={"file": b"lost"})
    [blob] = site.blobstorage.rglob("*.blob")
    blob.unlink()
    hooked = Hooked(site, tmp_path)
    with pytest.raises(IntegrityError, match="missing at the source"):
        hooked.operated.backup()
    assert hooked.ran == ["pre", "post"]
    told = hooked.told_to("post")
    assert (told["BACKUP_OUTCOME"], told["BACKUP_EXIT_CODE"]) == ("incomplete", "3")
    assert "missing at the source" in told["BACKUP_ERROR"]
    assert [run.outcome for run in hooked.runs] == ["incomplete"]


def test_hooks_run_around_a_restore_as_well(site, tmp_path):
    hooked = Hooked(site, tmp_path)
    stamp = hooked.operated.backup().point.stamp
    hooked.told.unlink()
    hooked.operated.restore()
    assert hooked.ran == ["pre", "post"]
    assert hooked.told_to("post")["BACKUP_VERB"] == "restore"
    assert hooked.told_to("post")["BACKUP_RESTORE_POINT"] == stamp


def test_no_hook_runs_around_what_only_reads(site, tmp_path):
    hooked = Hooked(site, tmp_path)
    with hooks_around(hooked.operated.run("verify")):
        pass
    assert hooked.ran == []


def test_an_error_of_any_length_and_any_bytes_fits_into_an_environment(site, tmp_path):
    hooked = Hooked(site, tmp_path)
    with pytest.raises(BackupError), hooks_around(hooked.operated.run("backup")):
        raise BackupError("x\0\udcff\n" * 10**5)
    assert len(hooked.told_to("failure")["BACKUP_ERROR"]) == ERROR_LIMIT


# the history


def test_each_run_is_in_the_history_with_what_it_came_to(site, tmp_path):
    hooked = Hooked(site, tmp_path)
    first = hooked.operated.backup().point.stamp
    hooked.operated.backup()
    hooked.operated.restore()
    backup, unchanged, restored = hooked.runs
    assert (backup.verb, backup.destination, backup.process) == (
        "backup",
        "standard",
        os.getpid(),
    )
    assert backup.started == NOON + timedelta(hours=1)
    assert (backup.outcome, backup.exit_code, backup.error) == ("done", 0, "")
    assert list(backup.phases) == ["filestorage", "blobs"]
    assert backup.points == unchanged.points == restored.points == {"1": first}
    assert backup.numbers["bytes"] > 0
    assert unchanged.numbers == {"bytes": 0, "changed": 0}
    assert [(hook.name, hook.exit_code, hook.output) for hook in backup.hooks] == [
        ("pre_command", 0, "pre says this\n"),
        ("post_command", 0, "post says this\n"),
    ]
    assert restored.verb == "restore"
    assert backup.seconds >= sum(backup.phases.values())


def test_a_run_that_failed_is_in_the_history_with_its_error(site, tmp_path):
    hooked = Hooked(site, tmp_path)
    hooked.operated.backup()
    broken(site)
    with pytest.raises(IntegrityError):
        hooked.operated.backup()
    run = hooked.runs[-1]
    assert (run.outcome, run.exit_code) == ("failed", 3)
    assert str(site.filestorage) in run.error
    assert [hook.name for hook in run.hooks] == ["pre_command", "failure_command"]


def test_a_run_that_is_under_way_is_in_the_history(site, tmp_path):
    hooked = Hooked(site, tmp_path)
    hooked.operated.backup()
    with hooks_around(hooked.operated.run("verify")):
        assert hooked.runs[-1].outcome == "started"
    assert hooked.runs[-1].outcome == "done"


def test_snapshots_are_in_the_same_history(site, tmp_path):
    hooked = Hooked(site, tmp_path)
    hooked.operated.backup()
    hooked.operated.backup(destination=SNAPSHOT, full=True)
    assert [run.destination for run in hooked.runs] == ["standard", "snapshot"]


def test_a_restore_to_which_the_user_says_no_is_no_run(site, tmp_path):
    hooked = Hooked(site, tmp_path)
    hooked.operated.backup()
    assert not restore(hooked.operated.run("restore", ask=lambda _question: False), RestoreOrder())
    assert [run.verb for run in hooked.runs] == ["backup"]


class Unwritable(Files):
    """A disk that takes everything but a history."""

    def append(self, path: Path, data: bytes) -> None:
        raise OSError(28, "No space left on device", os.fspath(path))


def test_a_history_that_cannot_be_written_is_one_warning(site, tmp_path, log):
    hooked = Hooked(site, tmp_path)
    hooked.operated.backup()
    outcome = hooked.operated.backup(files=Unwritable(), full=True)
    assert outcome.changed
    path = hooked.operated.place().filestorage / history.NAME
    assert log.messages == [f"cannot add to the history: No space left on device: {path}"]


def test_losing_the_history_loses_no_backup(site, tmp_path):
    hooked = Hooked(site, tmp_path)
    hooked.operated.backup()
    points = hooked.operated.points()
    path = hooked.operated.place().filestorage / history.NAME
    path.write_bytes(b"\xff" * 1000)
    assert hooked.operated.points() == points
    hooked.operated.backup()
    assert len(hooked.runs) == 1
    path.unlink()
    hooked.operated.restore()


def test_a_crash_leaves_a_run_that_only_started(site, tmp_path):
    hooked = Hooked(site, tmp_path)
    hooked.operated.backup()
    site.commit({"a": 1})
    files = FaultyFiles(Fault.BEFORE, 6)
    with suppress(BaseException):
        hooked.operated.backup(files=files)
    assert files.struck is not None
    assert [run.outcome for run in hooked.runs] == ["done", "started"]


# pings


def pinged(site: Site, watcher, **options) -> Operated:
    return Operated(site, ping_url=watcher.url, **options)


def test_a_backup_pings_when_it_begins_and_when_it_went_well(site):
    with watching() as watcher:
        pinged(site, watcher).backup()
    assert watcher.paths == ["/ping/s3cret/start", "/ping/s3cret"]


def test_a_backup_that_failed_pings_with_the_message(site):
    broken(site)
    with watching() as watcher, pytest.raises(IntegrityError):
        pinged(site, watcher).backup()
    assert watcher.paths == ["/ping/s3cret/start", "/ping/s3cret/fail"]
    assert str(site.filestorage) in watcher.pings[1].body


def test_a_hook_that_fails_is_a_failure(site):
    with watching() as watcher, pytest.raises(CommandFailed):
        pinged(site, watcher, post_command="false").backup()
    assert watcher.paths == ["/ping/s3cret/start", "/ping/s3cret/fail"]
    assert "post_command failed" in watcher.pings[1].body


def test_snapshots_and_restores_do_not_ping(site):
    with watching() as watcher:
        operated = pinged(site, watcher)
        operated.backup(destination=SNAPSHOT, full=True)
        with one_writer(operated.config_path.parent, "the other"), pytest.raises(InUse):
            operated.backup(destination=SNAPSHOT)
    assert watcher.pings == []


def test_a_backup_that_is_not_let_in_pings_the_failure_and_runs_no_hook(site):
    with watching() as watcher:
        operated = pinged(site, watcher, pre_command="touch pre", failure_command="touch failed")
        with one_writer(operated.config_path.parent, "the other"), pytest.raises(InUse):
            operated.backup()
    assert watcher.paths == ["/ping/s3cret/fail"]
    assert "the other" in watcher.pings[0].body
    assert not Path("pre").exists()
    assert not Path("failed").exists()


@pytest.mark.parametrize("answer", [status(500), status(404), status(302)])
def test_a_ping_that_fails_does_not_fail_the_backup(site, log, monkeypatch, answer):
    monkeypatch.setattr(pinging, "BETWEEN", 0.01)
    with watching(answer) as watcher:
        assert pinged(site, watcher).backup().point.whole
    assert len(watcher.pings) >= 2
    [message] = log.messages
    assert message.startswith("no ping (start): http://127.0.0.1: the server answered")
    assert "s3cret" not in message


def test_following_pings_now_and_then(site):
    from collective.recipe.backup.tests.unit.test_following import followed

    with watching() as watcher:
        operated = pinged(site, watcher)
        followed(operated, *[lambda: None] * 9, step=timedelta(minutes=1))
    # at 0, 5 and when it ends
    assert watcher.paths == ["/ping/s3cret/start", *["/ping/s3cret"] * 3]


# metrics


def test_each_run_writes_the_metrics(site, tmp_path):
    path = tmp_path / "backup.prom"
    operated = Operated(site, metrics_file=path)
    operated.backup()
    text = path.read_text()
    labels = 'part="backup",verb="backup",destination="standard"'
    assert f"zodb_backup_run_exit_code{{{labels}}} 0\n" in text
    assert (
        'zodb_backup_restore_points{part="backup",destination="standard",storage="1"} 1\n' in text
    )
    assert 'zodb_backup_under_way{part="backup"} 0\n' in text
    broken(site)
    with pytest.raises(IntegrityError):
        operated.backup()
    text = path.read_text()
    assert f"zodb_backup_run_exit_code{{{labels}}} 3\n" in text
    success = f"zodb_backup_run_success_timestamp_seconds{{{labels}}} "
    assert f"{success}{(NOON + timedelta(hours=1)).timestamp():.0f}\n" in text
    assert [each.name for each in tmp_path.iterdir() if "prom" in each.name] == ["backup.prom"]


def test_metrics_say_how_a_run_ended_though_its_hook_unmounted_the_disk(site, tmp_path):
    path = tmp_path / "backup.prom"
    location = site.directory / "var" / "backups"
    operated = Operated(
        site, metrics_file=path, post_command=f"mv '{location}' '{tmp_path}/disk'; false"
    )
    with pytest.raises(CommandFailed):
        operated.backup()
    assert 'destination="standard"} 7\n' in path.read_text()
    assert (
        'restore_points{part="backup",destination="standard",storage="1"} 1\n' in path.read_text()
    )


def test_metrics_that_cannot_be_written_are_one_warning(site, tmp_path, log):
    operated = Operated(site, metrics_file=tmp_path / "nowhere" / "backup.prom")
    assert operated.backup().point.whole
    [message] = log.messages
    assert message.startswith("cannot write the metrics: No such file or directory: ")


def test_the_history_can_be_read_by_any_program(site, tmp_path):
    hooked = Hooked(site, tmp_path)
    hooked.operated.backup()
    path = hooked.operated.place().filestorage / history.NAME
    path.unlink()
    hooked.operated.backup()
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["outcome"] for line in lines] == ["started", "done", "done"]
    assert set(lines[-1]) == {*history.RunRecord.__dataclass_fields__, "check"}
