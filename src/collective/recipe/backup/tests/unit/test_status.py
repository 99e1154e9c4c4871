"""The status: what there is to rely on, and what there is to complain of."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

import collective.recipe.backup
from collective.recipe.backup import history, locking
from collective.recipe.backup.cli import main
from collective.recipe.backup.config import dump
from collective.recipe.backup.errors import BackupError, IntegrityError
from collective.recipe.backup.files import Files
from collective.recipe.backup.history import RunRecord
from collective.recipe.backup.metrics import METRICS, PREFIX, render
from collective.recipe.backup.operations.hooks import hooks_around
from collective.recipe.backup.operations.measures import samples
from collective.recipe.backup.operations.sitestatus import SiteStatus, StatusSeverity
from collective.recipe.backup.operations.status import status
from collective.recipe.backup.options.optionkinds import SizeOrPercent
from collective.recipe.backup.process import birth_of, run_hook
from collective.recipe.backup.restoring.journal import FORM, SWAPPING
from collective.recipe.backup.sitebackup import main as sitebackup
from collective.recipe.backup.tests.counting import increments
from collective.recipe.backup.tests.many import add_restore_points
from collective.recipe.backup.tests.namespaces import make_read_only, mounted, tmpfs
from collective.recipe.backup.tests.runs import Operated
from collective.recipe.backup.tests.samples import Site
from collective.recipe.backup.tests.scripts import Script, running, wait_until
from collective.recipe.backup.tests.smallfiles import rewrite
from collective.recipe.backup.tests.watcher import watching
from collective.recipe.backup.times import stamp, utcnow

pytestmark = pytest.mark.usefixtures("leaping")

DOCS = Path(collective.recipe.backup.__file__).parents[4] / "docs"
HOUR = timedelta(hours=1)


def found(operated: Operated, *, later: timedelta = timedelta(0)) -> SiteStatus:
    """Return the status some time after the last run."""
    return status(replace(operated.run("status"), now=operated.now + later))


def complaints(operated: Operated, *, later: timedelta = timedelta(0)) -> list[tuple[str, str]]:
    findings = found(operated, later=later).findings
    return [(finding.severity.name, finding.what) for finding in findings]


def put_down(operated: Operated, **facts) -> RunRecord:
    """Add a run to the history."""
    known = {"destination": "standard", "process": os.getpid(), "host": os.uname().nodename}
    known["started"] = operated.now
    record = RunRecord(**{**known, **facts})
    history.append(operated.place().filestorage, record, Files())
    return record


def gone() -> int:
    """Return the number of a process that is no more."""
    return int(run_hook("hook", "echo $$", {}).output)


def test_a_site_that_is_backed_up_is_well(site: Site):
    operated = Operated(site)
    point = operated.backup().point
    got = found(operated, later=5 * HOUR)
    assert got.findings == ()
    assert got.severity is StatusSeverity.OK
    [storage] = got.storages
    assert (storage.count, storage.whole, storage.stored) == (1, 1, point.stored)
    assert storage.newest == point
    assert storage.age(got.now) == 5 * HOUR
    assert got.newest["backup"].outcome == "done"
    assert all(0 < room.free <= room.size for room in got.rooms)
    assert (got.under_way, list(got.died), list(got.replaced)) == ("", [], [])


def test_a_site_without_a_backup_is_not(site: Site):
    operated = Operated(site)
    assert complaints(operated) == [("CRITICAL", "there is no whole restore point")]


def test_a_restore_point_may_be_too_old(site: Site):
    operated = Operated(site, max_age=timedelta(hours=36))
    operated.backup()
    assert complaints(operated, later=36 * HOUR) == []
    assert complaints(operated, later=37 * HOUR) == [
        ("CRITICAL", "the newest whole restore point is 1 d 13 h old, more than 1 d 12 h")
    ]


def test_a_backup_that_found_nothing_new_makes_it_young(site: Site):
    operated = Operated(site, max_age=timedelta(hours=36))
    operated.backup()
    operated.now += 100 * HOUR
    assert not operated.backup().changed
    assert complaints(operated, later=HOUR) == []
    (operated.place().filestorage / history.NAME).unlink()
    [(severity, _what)] = complaints(operated, later=HOUR)
    assert severity == "CRITICAL"


def test_only_what_is_whole_counts(site: Site):
    operated = Operated(site, max_age=timedelta(hours=36), keep=0)
    whole = operated.backup().point
    operated.now += 48 * HOUR
    site.commit({"a": 1})
    later = operated.backup(full=True).point
    (operated.place().filestorage / f"{later.stamp}.fsz").unlink()
    got = found(operated)
    assert got.storages[0].newest == whole
    assert (got.storages[0].count, got.storages[0].whole) == (2, 1)
    assert "more than 1 d 12 h" in got.findings[0].what


def test_too_few_restore_points_are_a_finding(site: Site):
    operated = Operated(site, minimum_restore_points=2)
    operated.backup()
    assert complaints(operated) == [("CRITICAL", "there is 1 whole restore point, fewer than 2")]
    site.commit({"a": 1})
    operated.backup()
    assert complaints(operated) == []


@pytest.mark.parametrize("room", [SizeOrPercent(percent=100), SizeOrPercent(size=10**18)])
def test_too_little_room_is_a_finding(site: Site, room):
    operated = Operated(site, minimum_free=room)
    operated.backup()
    [(severity, what)] = complaints(operated)
    assert severity == "CRITICAL"
    assert re.fullmatch(r"[\d.]+ .B are free at .*/backups, less than [\d.]+ .B", what)


@mounted
def test_a_disk_of_the_backups_that_became_read_only_is_a_finding(site: Site):
    operated = Operated(site)
    disk = operated.place().filestorage
    disk.mkdir()
    tmpfs(disk)
    operated.backup()
    assert complaints(operated) == []

    make_read_only(disk)
    [(severity, what)] = complaints(operated)
    assert severity == "CRITICAL"
    assert f"the disk at {disk} is mounted read-only, so nothing can be backed up to" in what


def test_a_backup_that_failed_is_complained_of_until_one_goes_well(site: Site):
    operated = Operated(site)
    operated.backup()
    whole = site.filestorage.read_bytes()
    site.filestorage.write_bytes(b"something else")
    with suppress(IntegrityError):
        operated.backup()
    [(severity, what)] = complaints(operated)
    assert severity == "CRITICAL"
    assert what.startswith(f"the backup of {stamp(operated.now)}: ")
    site.filestorage.write_bytes(whole)
    operated.backup()
    assert complaints(operated) == []


@pytest.mark.parametrize(
    ("verb", "outcome", "exit_code", "severity"),
    [
        ("backup", "failed", 1, "CRITICAL"),
        ("backup", "incomplete", 3, "WARNING"),
        ("backup", "failed", 130, "WARNING"),
        ("verify", "failed", 3, "CRITICAL"),
        ("verify", "failed", 1, "WARNING"),
        ("rehearse", "failed", 3, "CRITICAL"),
        ("restore", "failed", 5, "WARNING"),
        ("prune", "done", 0, None),
    ],
)
def test_how_bad_a_run_that_ended_is(site: Site, verb, outcome, exit_code, severity):
    operated = Operated(site)
    operated.backup()
    operated.now += HOUR
    put_down(operated, verb=verb, outcome=outcome, exit_code=exit_code, error="why")
    expected = [] if severity is None else [(severity, f"the {verb} of {stamp(operated.now)}: why")]
    assert complaints(operated) == expected


def test_a_run_that_is_under_way_is_told(site: Site):
    operated = Operated(site)
    operated.backup()
    with hooks_around(operated.run("verify")):
        got = found(operated)
    assert got.under_way.startswith(f"verify, process {os.getpid()} since ")
    assert got.findings == ()
    with locking.one_writer(operated.place().filestorage, "backup: the other"):
        assert found(operated).under_way == "backup: the other"


def test_a_user_who_may_only_read_sees_which_run_is_at_work(site: Site):
    operated = Operated(site)
    operated.backup()
    directory = operated.place().filestorage
    (directory / locking.LOCK_NAME).chmod(0o444)
    with locking.one_writer(operated.config_path.parent, "the other"):
        assert found(operated).under_way == "the other"


@pytest.mark.parametrize(("verb", "severity"), [("backup", "CRITICAL"), ("verify", "WARNING")])
def test_a_run_that_died_is_complained_of_until_one_goes_well(site: Site, verb, severity):
    operated = Operated(site)
    operated.backup()
    operated.now += HOUR
    put_down(operated, verb=verb, process=gone())
    died = f"the {verb} of {stamp(operated.now)} died"
    assert complaints(operated) == [(severity, died)]
    operated.now += HOUR
    put_down(operated, verb=verb, outcome="failed", exit_code=130, error="interrupted")
    assert (severity, died) in complaints(operated)
    operated.now += HOUR
    put_down(operated, verb=verb, outcome="done", exit_code=0)
    assert complaints(operated) == []


def test_following_that_died_is_not_made_good_by_what_it_did_before(site: Site):
    operated = Operated(site)
    operated.backup()
    process = gone()
    operated.now += HOUR
    begun = put_down(operated, verb="follow", process=process)
    operated.now += HOUR
    put_down(operated, verb="backup", process=process, outcome="done", exit_code=0)
    dead = f"the follow of {stamp(begun.started)} died, and none follows since then"
    assert complaints(operated) == [("CRITICAL", dead)]


def test_following_that_died_is_not_made_good_by_other_backups(site: Site):
    """They may have been made before it died."""
    operated = Operated(site)
    operated.backup()
    begun = put_down(operated, verb="follow", process=gone())
    for _night in range(3):
        site.commit({"a": 1})
        operated.backup()
    dead = f"the follow of {stamp(begun.started)} died, and none follows since then"
    assert complaints(operated) == [("CRITICAL", dead)]


def test_following_that_failed_is_not_made_good_by_other_backups(site: Site):
    operated = Operated(site)
    operated.backup()
    begun = operated.now
    put_down(operated, verb="follow", process=17)
    operated.backup()
    failed = {"outcome": "failed", "exit_code": 1, "error": "no room", "seconds": 9000.0}
    put_down(operated, verb="follow", process=17, started=begun, **failed)
    operated.backup()
    assert complaints(operated) == [("CRITICAL", f"the follow of {stamp(begun)}: no room")]


@pytest.mark.parametrize("how", ["ended", "has backed up", "goes on"])
def test_following_that_died_is_made_good_by_a_later_one(site: Site, how: str):
    operated = Operated(site)
    operated.backup()
    put_down(operated, verb="follow", process=gone())
    operated.now += HOUR
    if how == "ended":
        put_down(operated, verb="follow", process=17, outcome="done", exit_code=0)
    else:
        put_down(operated, verb="follow")
        assert [severity for severity, _what in complaints(operated)] == ["CRITICAL"]
    if how == "has backed up":
        put_down(operated, verb="backup", outcome="done", exit_code=0)
    later = timedelta(minutes=5) if how == "goes on" else timedelta(0)
    assert complaints(operated, later=later) == []


def test_a_process_that_has_the_number_of_one_that_died_is_another(site: Site):
    operated = Operated(site)
    operated.backup()
    put_down(operated, verb="follow", birth="another boot 17")
    [(severity, what)] = complaints(operated)
    assert (severity, "died" in what) == ("CRITICAL", True)
    put_down(operated, verb="follow", birth=birth_of(os.getpid()))
    assert complaints(operated, later=HOUR) == []


def test_a_zombie_does_not_go_on(site: Site):
    operated = Operated(site)
    operated.backup()
    with subprocess.Popen([sys.executable, "-c", ""]) as child:
        put_down(operated, verb="follow", process=child.pid, birth=birth_of(child.pid))
        wait_until(lambda: "Z" in Path(f"/proc/{child.pid}/stat").read_text(), "it does not end")
        assert [what for _severity, what in complaints(operated) if "died" in what]


def test_following_that_was_killed_is_complained_of_whatever_cron_does(site: Site):
    operated = Operated(site)
    operated.now = utcnow()
    with running(Script(operated.config_path, "backup", "--follow", "--every", "0.1")) as script:
        wait_until(lambda: len(history.read(operated.place().filestorage)) == 2, "no backup")
        follows = "follow, process "
        wait_until(lambda: found(operated).under_way.startswith(follows), "it does not go on")
        site.commit({"a": 1})
        assert main("backup", "standard", operated.config_path, ["-q"]) == 0
        script.kill()
    operated.now = utcnow()
    [(severity, what)] = complaints(operated)
    assert severity == "CRITICAL"
    assert what.startswith("the follow of ")


# clocks


def ahead(operated: Operated, *, days: int = 300) -> None:
    """Back up with a clock that is ahead, and set it right."""
    right = operated.now
    operated.now += timedelta(days=days)
    operated.backup()
    operated.now = right + HOUR


def test_a_backup_with_a_clock_ahead_makes_nothing_young(site: Site):
    operated = Operated(site, max_age=timedelta(hours=36))
    operated.backup()
    site.commit({"a": 1})
    ahead(operated)
    got = found(operated)
    assert got.storages[0].age(got.now) == HOUR - timedelta(seconds=1)
    [finding] = got.findings
    assert finding.severity is StatusSeverity.WARNING
    assert finding.what.endswith("is later than now: the clock was ahead then, or is behind")
    late = found(operated, later=timedelta(days=40))
    assert late.severity is StatusSeverity.CRITICAL
    assert "the newest whole restore point is 40 d" in late.findings[0].what


@pytest.mark.parametrize("changed", [False, True])
def test_failures_after_a_run_with_a_clock_ahead_are_told(site: Site, changed: bool):
    operated = Operated(site)
    operated.backup()
    if changed:
        site.commit({"a": 1})
    ahead(operated)
    whole = site.filestorage.read_bytes()
    site.filestorage.write_bytes(b"something else")
    with suppress(IntegrityError):
        operated.backup()
    assert complaints(operated)[0][0] == "CRITICAL"
    assert complaints(operated)[0][1].startswith(f"the backup of {stamp(operated.now)}: ")
    site.filestorage.write_bytes(whole)
    site.commit({"a": 2})
    operated.backup()
    assert complaints(operated) == []


def test_what_was_found_current_by_a_clock_that_was_right_again_counts(site: Site):
    operated = Operated(site, max_age=timedelta(hours=36))
    operated.backup()
    ahead(operated, days=10)
    operated.backup()
    # by now it is later than the clock said when it was ahead
    got = found(operated, later=timedelta(days=20))
    assert got.storages[0].age(got.now) == timedelta(days=20)


def test_a_site_all_of_whose_restore_points_are_in_the_future_is_a_warning(site: Site):
    operated = Operated(site)
    operated.backup()
    operated.now -= timedelta(days=9000)
    got = found(operated)
    assert got.storages[0].age(got.now) == timedelta(0)
    assert [finding.severity for finding in got.findings] == [StatusSeverity.WARNING]


def test_restore_points_that_stay_because_of_a_doubt_are_a_warning(site: Site):
    operated = Operated(site, keep=1, keep_daily=1)
    for days in (0, 1, 300, 1):
        operated.now += timedelta(days=days)
        site.commit({"a": days})
        operated.backup(full=True)
    operated.now += timedelta(days=1)
    [(severity, what)] = complaints(operated)
    assert severity == "WARNING"
    assert what.startswith("the clock has leapt by 300 days")
    assert what.endswith("restore points stay that would go otherwise")


def test_a_time_that_is_later_than_now_is_no_age(site: Site, capsys):
    operated = Operated(site)
    operated.now = utcnow() + timedelta(days=300)
    operated.backup()
    assert main("status", "standard", operated.config_path, []) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("WARNING: ")
    assert f"last backup           {stamp(operated.now)}, later than now, done" in lines[3]
    assert main("status", "standard", operated.config_path, ["--nagios"]) == 1


def test_metrics_do_not_take_the_place_of_a_device(site, tmp_path, caplog):
    """As root, /dev/null would be gone for all."""
    os.mkfifo(tmp_path / "null")
    Operated(site, metrics_file=tmp_path / "null").backup()
    assert (tmp_path / "null").is_fifo()
    assert "cannot write the metrics: not a regular file" in caplog.text


def test_what_a_restore_replaced_is_told_and_one_that_was_broken_off_is_critical(site: Site):
    operated = Operated(site)
    operated.backup()
    site.commit({"a": 1})
    operated.restore()
    got = found(operated)
    assert any(path.name.startswith("Data.fs") for path in got.replaced)
    assert got.findings == ()
    journal = site.filestorage.with_name("Data.fs.restore.json")
    rewrite(journal, FORM, state=SWAPPING)
    [(severity, what)] = complaints(operated)
    assert severity == "CRITICAL"
    assert "broken off" in what
    journal.write_text("{")
    [(severity, what)] = complaints(operated)
    assert severity == "CRITICAL"
    assert "journal" in what


def test_the_worst_comes_first(site: Site):
    operated = Operated(site, minimum_restore_points=5)
    operated.backup()
    operated.now += HOUR
    put_down(operated, verb="prune", outcome="failed", exit_code=1, error="why")
    assert [severity for severity, _what in complaints(operated)] == ["CRITICAL", "WARNING"]


def test_each_restore_point_adds_the_same_to_what_a_status_costs(site: Site):
    operated = Operated(site)
    operated.backup()
    found(operated)  # what is imported late is imported now
    first, second = increments(lambda: found(operated), lambda: add_restore_points(operated, 100))
    assert found(operated).storages[0].count == 201
    assert first < 100 * 500
    assert second < first * 1.05


# the command


@pytest.fixture
def command(site: Site, capsys):
    """Return a function that runs backup-status as a user does."""

    def run(*arguments: str, backup: bool = True, **options):
        operated = Operated(site, **options)
        operated.now = operated.run("status").now.replace(year=2020)
        if backup:
            operated.backup()
        operated.config_path.write_bytes(dump(operated.config))
        capsys.readouterr()
        code = main("status", "standard", operated.config_path, list(arguments))
        return code, capsys.readouterr().out

    return run


def test_the_answer_to_a_user(command):
    code, out = command()
    assert code == 0
    lines = out.splitlines()
    assert lines[0] == "all is well"
    names = [re.split(r"  +", line)[0] for line in lines[1:]]
    assert names[:5] == [
        "newest restore point",
        "restore points",
        "last backup",
        "last verify",
        "last rehearse",
    ]
    assert lines[4].endswith("never")


def test_a_user_is_told_what_is_wrong_and_scripts_as_well(command):
    code, out = command(max_age=timedelta(hours=36))
    assert code == 3
    assert out.startswith("CRITICAL: the newest whole restore point is ")


def test_a_warning_is_no_failure(site: Site, command, capsys):
    operated = Operated(site)
    operated.backup()
    put_down(operated, verb="prune", outcome="failed", exit_code=1, error="why")
    assert main("status", "standard", operated.config_path, []) == 0
    assert capsys.readouterr().out.startswith("WARNING: the prune of ")


NAGIOS = re.compile(
    r"BACKUP (OK|WARNING|CRITICAL|UNKNOWN) - [^|\n]+"
    r"( \|( '[^'=]+'=[\d.]+[A-Za-z]*;[\d:]*;[\d:]*;\d*(;\d+)?)+)?\n"
)


@pytest.mark.parametrize(
    ("options", "backup", "code"),
    [
        ({}, True, 0),
        ({"max_age": timedelta(hours=36)}, True, 2),
        ({"minimum_restore_points": 3, "minimum_free": SizeOrPercent(percent=1)}, True, 2),
        ({}, False, 2),
    ],
)
def test_nagios_gets_one_line_and_its_exit_code(command, options, backup, code):
    got, out = command("--nagios", backup=backup, **options)
    assert got == code
    assert NAGIOS.fullmatch(out)[1] == StatusSeverity(code).name
    assert re.search(r"'restore_points'=\d", out)


def test_nagios_is_told_that_nothing_can_be_told(site: Site, capsys):
    operated = Operated(site)
    location = operated.place().filestorage
    location.write_text("not a directory")
    assert main("status", "standard", operated.config_path, ["--nagios"]) == 3
    assert NAGIOS.fullmatch(capsys.readouterr().out)[1] == "UNKNOWN"


def test_nothing_that_a_name_holds_confuses_nagios(tmp_path, capsys):
    site = Site(tmp_path / "a | b\n'c'=1;2")
    operated = Operated(site, minimum_free=SizeOrPercent(percent=100))
    operated.backup()
    assert main("status", "standard", operated.config_path, ["--nagios"]) == 2
    assert NAGIOS.fullmatch(capsys.readouterr().out)


def test_a_program_gets_json(command):
    code, out = command("--json", minimum_restore_points=2)
    assert code == 3
    content = json.loads(out)
    assert content["severity"] == "critical"
    assert content["storages"][0]["restore_points"] == 1
    assert content["runs"]["backup"]["outcome"] == "done"


def test_the_status_writes_the_metrics(command, tmp_path):
    path = tmp_path / "backup.prom"
    command(metrics_file=path)
    assert (
        'zodb_backup_restore_points{part="backup",destination="standard",storage="1"} 1\n'
        in path.read_text()
    )


# metrics


def test_all_metrics_can_be_had_and_are_in_the_form_of_prometheus(site: Site):
    operated = Operated(site)
    operated.backup()
    operated.now += HOUR
    put_down(operated, verb="verify", outcome="failed", exit_code=3, error="why", seconds=1.25)
    values = samples(operated.config, [found(operated)])
    assert set(values) == {metric.name for metric in METRICS}
    seen = []
    for line in render(values).splitlines():
        if line.startswith("# HELP "):
            seen.append(line.split()[2])
        elif not line.startswith("# TYPE "):
            assert re.fullmatch(r'\w+\{\w+="[^"]*"(,\w+="[^"]*")*\} -?[\d.]+', line), line
            assert line.startswith(f"{seen[-1]}{{")
    assert seen == [f"{PREFIX}{metric.name}" for metric in METRICS]


def test_labels_of_metrics_are_escaped():
    text = render({"free_bytes": [({"part": 'a"\\\n\udcff', "path": "/"}, 1.5)]})
    assert 'part="a\\"\\\\\\n\\\\udcff",path="/"} 1.500\n' in text


def test_the_page_about_monitoring_has_all_metrics():
    page = (DOCS / "howto" / "monitor.rst").read_text(encoding="utf-8")
    table = "\n\n".join(
        f"``{PREFIX}{metric.name}``\n   {metric.says}\n"
        f"   Labels: {', '.join(f'``{label}``' for label in metric.labels)}."
        for metric in METRICS
    )
    assert table in page


def test_a_status_that_cannot_be_had_is_an_error(site: Site):
    operated = Operated(site)
    operated.place().filestorage.write_text("not a directory")
    with pytest.raises(BackupError):
        found(operated)


# what happened before a run had its hooks


def test_a_run_that_was_killed_in_its_pre_command_has_died(site: Site):
    operated = Operated(site)
    operated.backup()
    reached, go_on = site.directory / "reached", site.directory / "go-on"
    hook = f"touch {reached}; while [ ! -e {go_on} ]; do sleep 0.05; done"
    held = Operated(site, pre_command=hook)
    with running(Script(held.config_path, "backup")) as script:
        wait_until(reached.exists, "pre_command does not begin")
        script.kill()
    go_on.touch()
    [died] = status(replace(operated.run("status"), now=utcnow())).died
    assert (died.verb, died.process) == ("backup", script.process.pid)


@pytest.mark.parametrize("verb", ["backup", "prune"])
def test_a_run_that_was_not_let_in_is_told_of(site: Site, verb: str):
    with watching() as watcher:
        operated = Operated(site, ping_url=watcher.url, failure_command="touch failed")
        operated.backup()
        began = operated.now
        operated.now += HOUR
        with locking.one_writer(operated.config_path.parent, "cron, process 17"):
            code = main(verb, "standard", operated.config_path, [])
    assert code == 5
    operated.now = utcnow()
    record = found(operated).newest[verb]
    assert (record.outcome, record.exit_code) == ("failed", 5)
    assert "cron, process 17" in record.error
    assert record.started > began
    fails = [ping for ping in watcher.pings if ping.path == "/ping/s3cret/fail"]
    assert [("cron, process 17" in ping.body) for ping in fails] == [True] * (verb == "backup")
    assert not Path("failed").exists()
    assert [severity for severity, _what in complaints(operated)] == ["WARNING"]


def test_the_run_that_kept_another_out_makes_it_good_when_it_ends(site: Site):
    operated = Operated(site)
    operated.backup()
    began = operated.now + HOUR
    put_down(operated, verb="backup", process=17, started=began)
    operated.now += 2 * HOUR
    put_down(operated, verb="backup", outcome="failed", exit_code=5, seconds=0.0, error="at work")
    done = {"outcome": "done", "exit_code": 0, "seconds": 7200.0}
    put_down(operated, verb="backup", process=17, started=began, **done)
    assert complaints(operated, later=5 * HOUR) == []
    assert found(operated).newest["backup"].outcome == "done"


@pytest.mark.parametrize("verb", ["verify", "rehearse"])
def test_what_was_found_of_a_restore_point_goes_with_it(site: Site, verb: str):
    operated = Operated(site, keep=0)
    gone = operated.backup().point
    for path in operated.place().filestorage.glob("*.fsz"):
        path.write_bytes(path.read_bytes()[:-9])
    assert main(verb, "standard", operated.config_path, []) == 3
    site.commit({"a": 1})
    assert operated.backup().point.full
    assert [what for _severity, what in complaints(operated) if verb in what]

    operated.destination().remove([gone])

    operated.now = utcnow()
    assert complaints(operated) == []


@pytest.mark.parametrize("verb", ["verify", "rehearse"])
def test_what_was_found_of_no_restore_point_stays(site: Site, verb: str):
    operated = Operated(site)
    operated.backup()
    put_down(operated, verb=verb, outcome="failed", exit_code=3, error="an orphan")
    assert [severity for severity, _what in complaints(operated)] == ["CRITICAL"]


@pytest.mark.parametrize("content", ["{", ""])
def test_nagios_is_told_that_the_configuration_is_wrong(site: Site, content: str, capsys):
    operated = Operated(site)
    operated.config_path.write_text(content)
    assert main("status", "standard", operated.config_path, ["--nagios"]) == 3
    out, err = capsys.readouterr()
    assert NAGIOS.fullmatch(out)[1] == "UNKNOWN"
    assert "\n" not in out.rstrip("\n")
    assert err == ""
    assert main("status", "elsewhere", operated.config_path, ["--nagios"]) == 3
    assert main("status", "standard", operated.config_path, ["--nagios", "--nonsense"]) == 3
    # only where it means something
    capsys.readouterr()
    assert main("backup", "standard", operated.config_path, ["--nagios"]) == 2
    assert capsys.readouterr().out == ""


def test_sitebackup_tells_nagios_as_well(tmp_path: Path, capsys):
    (tmp_path / "sitebackup.toml").write_text("[")
    wrong = ["status", "--nagios", "--config", str(tmp_path / "sitebackup.toml")]
    assert sitebackup(wrong) == 3
    assert NAGIOS.fullmatch(capsys.readouterr().out)[1] == "UNKNOWN"
