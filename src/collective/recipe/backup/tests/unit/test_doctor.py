"""The doctor: each thing that a first night would find out, found before it."""

from __future__ import annotations

import errno
import fcntl
import itertools
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ZODB.FileStorage import FileStorage

from collective.recipe.backup import files, links, locking
from collective.recipe.backup.cli import main
from collective.recipe.backup.config import STANDARD, dump
from collective.recipe.backup.errors import BackupError, IntegrityError
from collective.recipe.backup.filestorage.transactionlog import TransactionLog
from collective.recipe.backup.findings import DoctorFinding, DoctorSeverity
from collective.recipe.backup.model import MAIN, Source
from collective.recipe.backup.operations.doctor import (
    examine,
    restores,
    sites,
    users,
    writers,
)
from collective.recipe.backup.restoring.journal import (
    FORM,
    LETTING_GO,
    REVERTING,
    SWAPPING,
    journal_path,
)
from collective.recipe.backup.restoring.moves import staged_path
from collective.recipe.backup.tests.blobtrees import nobody
from collective.recipe.backup.tests.namespaces import bind, mounted
from collective.recipe.backup.tests.runs import NOON, Operated
from collective.recipe.backup.tests.samples import Site
from collective.recipe.backup.tests.smallfiles import rewrite

pytestmark = pytest.mark.usefixtures("leaping")


@pytest.fixture
def operated(site: Site) -> Operated:
    yesterday = NOON - timedelta(days=1)
    site.commit({"page": 1}, {"file": b"data" * 100}, at=yesterday)
    site.commit({"page": 2}, {"other": b"more"}, at=yesterday)
    return Operated(site)


def found(operated: Operated, **more: Any) -> list[DoctorFinding]:
    return list(examine(operated.run("doctor", **more)))


def bad(operated: Operated, **more: Any) -> list[tuple[str, DoctorSeverity, str]]:
    """Return what is not well, and insist that each has a hint."""
    findings = [it for it in found(operated, **more) if it.severity is not DoctorSeverity.OK]
    assert [it for it in findings if not it.hint] == []
    return [(it.subject, it.severity, it.what) for it in findings]


def the_only(operated: Operated, subject: str, severity: DoctorSeverity, **more: Any) -> str:
    [(its_subject, its_severity, what)] = bad(operated, **more)
    assert (its_subject, its_severity) == (subject, severity)
    return what


def contents(directory: Path) -> dict[str, bytes | None]:
    return {
        str(path.relative_to(directory)): path.read_bytes() if path.is_file() else None
        for path in directory.rglob("*")
    }


def of_filestorage(operated: Operated) -> str:
    return next(it.what for it in found(operated) if it.subject == "filestorage")


# all is well


@pytest.mark.parametrize("backups", [0, 1])
def test_a_healthy_site_has_no_findings_and_is_not_changed(
    operated: Operated, backups: int
) -> None:
    for _ in range(backups):
        operated.backup()
    before = contents(operated.site.directory)
    assert bad(operated) == []
    assert contents(operated.site.directory) == before


def test_what_was_looked_at_is_said(operated: Operated) -> None:
    assert {it.subject for it in found(operated)} == {
        "users",
        "filestorage",
        "blobstorage",
        "writers",
        "restores",
        "places",
        "owner",
        "room",
        "programs",
        "locks",
        "backups",
    }


def test_a_site_without_blobs(site: Site) -> None:
    assert bad(Operated(site, blobs=False)) == []


# the site


def test_a_site_that_may_be_elsewhere_is_doubted_by_the_doctor_and_each_backup(
    operated: Operated, caplog: pytest.LogCaptureFixture
) -> None:
    operated.config = replace(operated.config, doubts=("part instance is elsewhere: go there",))
    what = the_only(operated, "filestorage", DoctorSeverity.WARNING)
    assert what == "part instance is elsewhere"
    operated.backup()
    assert "part instance is elsewhere" in caplog.text


def test_a_lost_filestorage_is_told_once(operated: Operated) -> None:
    operated.site.filestorage.unlink()
    subjects = [(subject, severity) for subject, severity, _what in bad(operated)]
    assert subjects == [("filestorage", DoctorSeverity.PROBLEM)]


def test_a_transaction_that_was_cut_short(operated: Operated) -> None:
    with TransactionLog(operated.site.filestorage) as log:
        last = log.end()
        begin = log.read(last.begin, 40)
    with operated.site.filestorage.open("ab") as file:
        file.write(begin)
    what = the_only(operated, "filestorage", DoctorSeverity.WARNING)
    assert what == "its last 40 bytes are no whole transaction"


@pytest.mark.parametrize("indexed", [True, False])
def test_damage_in_the_last_part(operated: Operated, indexed: bool) -> None:
    path = operated.site.filestorage
    if not indexed:
        path.with_name("Data.fs.index").unlink()
    with TransactionLog(path) as log:
        transaction = log.before(log.end().begin)
    with path.open("r+b") as file:
        file.seek(transaction.records + 24)  # where its first record says that it begins
        file.write(b"\xff" * 8)
    severities = {subject: severity for subject, severity, _what in bad(operated)}
    assert severities["filestorage"] is DoctorSeverity.PROBLEM


def test_only_the_last_part_is_looked_into(operated: Operated, monkeypatch) -> None:
    path = operated.site.filestorage
    with TransactionLog(path) as log:
        first = next(log.transactions())
    with path.open("r+b") as file:
        file.seek(first.records + 24)
        file.write(b"\xff" * 8)
    assert "filestorage" in [it[0] for it in bad(operated)]
    monkeypatch.setattr(sites, "LOOKED_BACK", 1)
    assert "looked into the last 1 transaction" in of_filestorage(operated)
    # neither an index nor a backup: it is walked, and still only the last part looked into
    path.with_name("Data.fs.index").unlink()
    assert "looked into the last 1 transaction" in of_filestorage(operated)


def test_an_index_of_another_filestorage(operated: Operated, tmp_path: Path) -> None:
    other = Site(tmp_path / "other")
    for number in range(5):
        other.commit({"page": "x" * 100 * number})
    shutil.copy(f"{other.filestorage}.index", f"{operated.site.filestorage}.index")
    what = the_only(operated, "filestorage", DoctorSeverity.WARNING)
    assert what == "the index is not one of this filestorage"


def test_a_transaction_of_the_future(operated: Operated) -> None:
    operated.site.commit({"page": 3}, at=operated.now + timedelta(days=400))
    operated.now += timedelta(days=370)
    assert "in the future" in the_only(operated, "filestorage", DoctorSeverity.WARNING)


def test_a_blob_that_is_missing(operated: Operated) -> None:
    [blob, *_] = operated.site.blobstorage.rglob("*.blob")
    blob.unlink()
    what = the_only(operated, "blobstorage", DoctorSeverity.PROBLEM)
    assert what.startswith("missing: 1 of 2 blobs of the last transactions, the first is oid 0x")


def test_a_blob_that_may_not_be_read() -> None:
    with nobody() as directory:
        site = Site(directory / "site")
        site.commit(blobs={"a": b"a", "b": b"b"})
        operated = Operated(site)
        sick, *_others = sorted(site.blobstorage.rglob("*.blob"))
        sick.chmod(0)
        [finding] = [
            it
            for it in found(operated)
            if it.subject == "blobstorage" and it.severity is not DoctorSeverity.OK
        ]
        assert finding.severity is DoctorSeverity.PROBLEM
        assert finding.what == "1 blob of the last transactions may not be read by this user"
        assert finding.where == str(sick)


def test_a_blobstorage_without_its_marker(operated: Operated) -> None:
    (operated.site.blobstorage / ".layout").unlink()
    said = the_only(operated, "blobstorage", DoctorSeverity.PROBLEM)
    assert "ZODB takes the layout for lawn, and does not find the blobs" in said


def test_a_blobstorage_that_is_missing(operated: Operated) -> None:
    shutil.rmtree(operated.site.blobstorage)
    assert the_only(operated, "blobstorage", DoctorSeverity.PROBLEM)


def test_a_server_at_work_is_no_finding(operated: Operated) -> None:
    storage = FileStorage(str(operated.site.filestorage))
    try:
        assert bad(operated) == []
        storage.pack(time.time(), lambda *_arguments: [])
        assert [it for it in found(operated) if it.subject == "writers"][
            0
        ].severity is DoctorSeverity.OK
    finally:
        storage.close()


@pytest.mark.parametrize("name", ["Data.fs", "Data.fs.old"])
def test_a_server_whose_file_has_no_name_any_more(operated: Operated, name: str) -> None:
    """Somebody has put another file in its place; that it was renamed before changes nothing."""
    path = operated.site.filestorage
    storage = FileStorage(str(path))
    try:
        shutil.copy(path, path.with_name("copy"))
        path.rename(path.with_name(name))
        path.with_name("copy").rename(path)
        path.with_name("Data.fs.old").unlink(missing_ok=True)
        what = the_only(operated, "writers", DoctorSeverity.PROBLEM)
    finally:
        storage.close()
    assert f"process {os.getpid()} (" in what
    assert f"of user {users.user(os.getuid())}) has an older file open that was here, as" in what
    assert f"as {name}:" in what
    assert bad(operated) == []


def test_a_server_whose_file_has_another_name_now(operated: Operated) -> None:
    path = operated.site.filestorage
    storage = FileStorage(str(path))
    try:
        shutil.copy(path, path.with_name("copy"))
        path.rename(path.with_name("Data.fs.before"))
        path.with_name("copy").rename(path)
        what = the_only(operated, "writers", DoctorSeverity.PROBLEM)
    finally:
        storage.close()
    assert f"writes to another file: {path}.before" in what


def test_a_server_that_has_lost_its_place_twice_is_told_of_the_file_beside_this_one(
    operated: Operated, tmp_path: Path
) -> None:
    path, other = operated.site.filestorage, tmp_path / "other" / "Data.fs"
    other.parent.mkdir()
    shutil.copy(path, other)
    # descriptors are listed in the order in which they were opened
    storages = [FileStorage(str(other)), FileStorage(str(path))]
    try:
        for each in (other, path):
            shutil.copy(each, each.with_name("copy"))
            each.rename(each.with_name("Data.fs.before"))
            each.with_name("copy").rename(each)
        other.with_name("Data.fs.lock").unlink()
        what = the_only(operated, "writers", DoctorSeverity.PROBLEM)
    finally:
        for storage in storages:
            storage.close()
    assert f"writes to another file: {path}.before" in what


def test_a_server_whose_lock_was_removed(operated: Operated) -> None:
    storage = FileStorage(str(operated.site.filestorage))
    try:
        operated.site.filestorage.with_name("Data.fs.lock").unlink()
        what = the_only(operated, "writers", DoctorSeverity.PROBLEM)
    finally:
        storage.close()
    assert "holds a lock that was removed: nothing keeps a second server" in what


def test_a_server_of_several_filestorages_has_each_of_them_open(operated: Operated) -> None:
    path = operated.site.filestorage
    shutil.copy(path, path.with_name("catalog.fs"))
    storages = [FileStorage(str(path)), FileStorage(str(path.with_name("catalog.fs")))]
    try:
        assert bad(operated) == []
        shutil.copy(path, path.with_name("copy"))
        path.rename(path.with_name("Data.fs.before"))
        path.with_name("copy").rename(path)
        assert "Data.fs.before" in the_only(operated, "writers", DoctorSeverity.PROBLEM)
    finally:
        for storage in storages:
            storage.close()


def test_a_process_that_only_reads_a_former_filestorage_is_no_problem(operated: Operated) -> None:
    """As a backup does that was overtaken by a pack."""
    path = operated.site.filestorage
    with path.open("rb"):
        shutil.copy(path, path.with_name("copy"))
        path.with_name("copy").rename(path)
        assert bad(operated) == []


def test_other_files_that_are_gone_say_nothing(operated: Operated) -> None:
    path = operated.site.filestorage.with_name("instance.log")
    with path.open("w") as file:
        file.write("a log that was rotated away\n")
        path.unlink()
        assert bad(operated) == []


def test_processes_that_hide_what_they_have_open(operated: Operated, tmp_path: Path) -> None:
    (tmp_path / "1").mkdir()  # one that has ended while we looked
    (tmp_path / "sys").mkdir()
    (tmp_path / "2" / "fd").mkdir(parents=True)
    (tmp_path / "2" / "fd" / "3").symlink_to(f"{operated.site.filestorage} (deleted)")
    [source] = operated.config.sources
    [finding] = writers.at_work(source, tmp_path)
    assert finding.severity is DoctorSeverity.PROBLEM
    assert "process 2 (it has ended)" in finding.what
    assert f"cp {tmp_path}/2/fd/3 elsewhere" in finding.hint
    [finding] = writers.at_work(source, tmp_path / "nowhere")
    assert finding.severity is DoctorSeverity.OK


# restores


def test_the_doctor_warns_of_data_that_a_restore_replaced(operated: Operated) -> None:
    operated.backup()
    operated.site.commit({"page": 3}, at=operated.now)
    operated.restore()
    severities = {(subject, severity) for subject, severity, _what in bad(operated)}
    assert severities == {("restores", DoctorSeverity.WARNING)}
    hints = [it.hint for it in found(operated) if it.severity is DoctorSeverity.WARNING]
    assert set(hints) == {"bin/restore --let-go removes it, bin/restore --undo puts it back"}


def test_a_restore_that_was_broken_off(operated: Operated) -> None:
    operated.backup()
    operated.site.commit({"page": 3}, at=operated.now)
    operated.restore()
    journal = journal_path(operated.site.filestorage)
    rewrite(journal, FORM, state=SWAPPING)
    assert "broken off" in the_only(operated, "restores", DoctorSeverity.PROBLEM)


def test_an_undo_that_was_broken_off_is_finished_by_another(operated: Operated) -> None:
    operated.backup()
    operated.site.commit({"page": 3}, at=operated.now)
    operated.restore()
    rewrite(journal_path(operated.site.filestorage), FORM, state=REVERTING)
    assert "an undo was broken off" in the_only(operated, "restores", DoctorSeverity.PROBLEM)
    [hint] = [it.hint for it in found(operated) if it.severity is DoctorSeverity.PROBLEM]
    assert "run bin/restore --undo again" in hint


def test_a_removal_of_what_was_replaced_that_was_broken_off(operated: Operated) -> None:
    operated.backup()
    operated.site.commit({"page": 3}, at=operated.now)
    operated.restore()
    rewrite(journal_path(operated.site.filestorage), FORM, state=LETTING_GO)
    hints = [it.hint for it in found(operated) if it.severity is DoctorSeverity.WARNING]
    assert set(hints) == {"bin/restore --let-go goes on with it"}


def test_what_a_restore_left_that_died_early(operated: Operated) -> None:
    staged_path(operated.site.filestorage).write_bytes(b"half")
    assert "before it was done" in the_only(operated, "restores", DoctorSeverity.WARNING)


def ways_back(operated: Operated) -> list[str]:
    """Return what is said of the ways in which a restore could replace what is live."""
    said = [it for it in found(operated) if it.subject == "restores"]
    assert {it.severity for it in said} == {DoctorSeverity.OK}
    return [f"{Path(it.where).name}: {it.what}" for it in said]


def test_how_a_restore_would_replace_what_is_live(operated: Operated) -> None:
    assert ways_back(operated) == [
        "Data.fs: a restore can replace it",
        "blobstorage: a restore can replace it",
    ]


@mounted
def test_how_a_restore_would_replace_what_is_mounted(operated: Operated, tmp_path: Path) -> None:
    site = operated.site
    (tmp_path / "outside").write_bytes(site.filestorage.read_bytes())
    bind(tmp_path / "outside", site.filestorage)
    shutil.copytree(site.blobstorage / "0x00", tmp_path / "disk")
    bind(tmp_path / "disk", site.blobstorage / "0x00")

    assert ways_back(operated) == [
        "Data.fs: it is a mount point: a restore writes over it, in place",
        f"blobstorage: {site.blobstorage / '0x00'} is mounted in it: a restore exchanges what "
        "lies in it",
    ]


def test_where_no_restore_could_replace_what_is_live(operated: Operated) -> None:
    with nobody() as directory:
        disk = directory / "disk"
        (disk / "blobs").mkdir(parents=True)
        for path in (disk / "blobs", disk):
            path.chmod(0o555)
        source = Source(name=MAIN, filestorage=directory / "Data.fs", blobstorage=disk / "blobs")
        [_filestorage, finding] = restores.way_back(operated.run("doctor"), source)
        for path in (disk, disk / "blobs"):
            path.chmod(0o755)

    assert finding.severity is DoctorSeverity.PROBLEM
    assert "and nothing can be made in it: Permission denied" in finding.what
    assert finding.where == str(disk / "blobs")


def test_what_is_no_file_in_the_place_of_the_lock_is_told_and_not_waited_for(
    operated: Operated,
) -> None:
    lock = operated.site.filestorage.with_name("Data.fs.lock")
    lock.unlink(missing_ok=True)
    os.mkfifo(lock)
    said = "neither a restore nor a server can lock this: not a regular file"
    assert the_only(operated, "restores", DoctorSeverity.PROBLEM) == said


@pytest.mark.parametrize(
    ("closed", "lost", "only_blobs"),
    [
        *itertools.product(
            ["var", "filestorage", "blobstorage", "disk", "lock"],
            ["nothing", "Data.fs", "blobstorage", "all"],
            [False],
        ),
        *itertools.product(["filestorage", "disk"], ["nothing", "Data.fs", "blobstorage"], [True]),
    ],
)
def test_the_doctor_knows_whether_this_user_could_restore(
    closed: str, lost: str, only_blobs: bool
) -> None:
    """Whatever is lost by then, and wherever this user may not write."""
    with nobody() as directory:
        site = Site(directory / "site")
        site.commit({"a": 1}, {"b": b"b"}, at=NOON)
        disk = directory / "disk"
        disk.mkdir()
        blobs = site.blobstorage.rename(disk / "blobs")
        site.blobstorage.symlink_to(blobs)
        operated = Operated(site, only_blobs=only_blobs)
        operated.backup()
        places = {
            "Data.fs": site.filestorage,
            "filestorage": site.filestorage.parent,
            "var": site.filestorage.parent.parent,
            "blobstorage": blobs,
            "lock": site.filestorage.with_name("Data.fs.lock"),
            "disk": disk,
        }
        gone = {"nothing": [], "all": ["filestorage", "blobstorage"]}.get(lost, [lost])
        for path in (places[name] for name in gone):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        shut = places.get(closed)
        if shut is not None and shut.exists():
            shut.chmod(0o555 if shut.is_dir() else 0o444)
        try:
            told = [it for it in found(operated) if it.subject == "restores" and it.denied]
            refused = None
            try:
                operated.restore()
            except BackupError as error:
                refused = error
        finally:
            if shut is not None and shut.exists():
                shut.chmod(0o755)

    assert [it.severity for it in told] == [DoctorSeverity.PROBLEM] * len(told)
    assert bool(told) == (refused is not None), (told, refused)


# places


class Refusing(files.Files):
    """A disk that refuses one operation."""

    def __init__(self, operation: str, number: int) -> None:
        super().__init__()
        self._refused = operation, number

    def _change(self, operation: str, path: links.StrPath, *more: Any, **words: Any) -> Any:
        named = "directory" if operation == "fsync" and os.path.isdir(path) else operation
        if self._refused[0] in (named, operation):
            raise OSError(self._refused[1], os.strerror(self._refused[1]), os.fspath(path))
        return super()._change(operation, path, *more, **words)


@pytest.mark.parametrize("operation", ["create", "write", "fsync", "rename"])
def test_a_disk_that_cannot_do_what_a_backup_does(operated: Operated, operation: str) -> None:
    before = contents(operated.site.directory)
    refusing = Refusing(operation, errno.EIO)
    findings = [
        it for it in found(operated, files=refusing) if it.severity is not DoctorSeverity.OK
    ]
    said = ("places", DoctorSeverity.PROBLEM, "a backup cannot write here: Input/output error")
    assert [(it.subject, it.severity, it.what) for it in findings] == [said]
    # not the name of the probe
    assert {it.where for it in findings} == {str(operated.site.directory / "var")}
    assert all(it.hint for it in findings)
    assert contents(operated.site.directory) == before


@pytest.mark.parametrize(
    ("operation", "what"),
    [
        ("link", "has no hard links"),
        ("symlink", "has no symbolic links"),
        ("chmod", "keeps no permissions"),
        ("utime", "does not keep the times of files"),
        ("directory", "cannot make the names in a directory durable"),
    ],
)
@pytest.mark.parametrize("number", [errno.EPERM, errno.ENOTSUP])
def test_what_a_disk_cannot_do_is_told_with_what_is_lost(
    operated: Operated, operation: str, what: str, number: int
) -> None:
    before = contents(operated.site.directory)
    refusing = Refusing(operation, number)
    findings = [
        it for it in found(operated, files=refusing) if it.severity is not DoctorSeverity.OK
    ]
    said = ("places", DoctorSeverity.WARNING, f"the file system {what}")
    assert [(it.subject, it.severity, it.what) for it in findings] == [said]
    assert all(it.hint for it in findings)
    assert contents(operated.site.directory) == before


@pytest.mark.parametrize("operation", ["chmod", "utime"])
def test_a_disk_that_accepts_a_change_and_does_nothing_is_told(
    operated: Operated, operation: str
) -> None:
    class Lying(files.Files):
        def _change(self, named: str, path: links.StrPath, *more: Any, **words: Any) -> Any:
            return None if named == operation else super()._change(named, path, *more, **words)

    assert len(bad(operated, files=Lying())) == 1


def test_a_disk_without_locks(operated: Operated, monkeypatch) -> None:
    def refused(_descriptor: int, _kind: int) -> None:
        raise OSError(errno.ENOLCK, "no locks")

    monkeypatch.setattr(fcntl, "flock", refused)
    findings = bad(operated)
    assert findings == [("places", DoctorSeverity.PROBLEM, "the file system has no locks")]


def test_a_file_in_the_way_of_the_backups_is_a_problem(operated: Operated) -> None:
    operated.place().filestorage.write_text("a file")
    assert ("places", DoctorSeverity.PROBLEM) in [it[:2] for it in bad(operated)]


@pytest.mark.parametrize(
    ("free", "severity"),
    [(100, DoctorSeverity.PROBLEM), (1200, DoctorSeverity.WARNING), (10**6, None)],
)
def test_room_for_a_full_backup(
    operated: Operated, monkeypatch, free: int, severity: DoctorSeverity | None
) -> None:
    def statvfs(_path: Path) -> SimpleNamespace:
        return SimpleNamespace(f_bavail=free, f_bfree=free, f_frsize=1, f_blocks=10**9)

    blobs = 404
    assert blobs + operated.site.size // 10 < 1200 < blobs + operated.site.size < 10**6
    monkeypatch.setattr(os, "statvfs", statvfs)
    assert [it[:2] for it in bad(operated)] == ([("room", severity)] if severity else [])


def test_blobs_that_are_linked_need_no_room(operated: Operated, monkeypatch) -> None:
    operated.backup()
    for path in operated.site.blobstorage.rglob("*.blob"):
        with path.open("ab") as file:
            file.truncate(10**12)  # holes, which take no room
    assert [it for it in bad(operated) if it[0] == "room"] == []


# what the options need


@pytest.mark.parametrize(
    ("options", "subject", "says"),
    [
        ({"use_rsync": True}, "programs", "the option use_rsync needs a program that is not there"),
        ({"repozo": Path("/no/repozo")}, "programs", "the option repozo needs a program"),
        ({"pre_command": "if true"}, "programs", "the shell does not understand pre_command"),
        ({"failure_command": "echo '"}, "programs", "does not understand failure_command"),
        ({"metrics_file": Path("/no/where.prom")}, "options", "metrics_file cannot be written"),
        ({"report_file": Path("/no/where.html")}, "options", "report_file cannot be written"),
        ({"ping_url": "env:NO_SUCH_VARIABLE"}, "options", "a variable that is not set"),
        ({"ping_url": "file:/no/such/file"}, "options", "a file that cannot be read"),
    ],
)
def test_the_doctor_names_programs_and_files_that_an_option_lacks(
    site: Site, tmp_path: Path, monkeypatch, options: dict[str, Any], subject: str, says: str
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert says in the_only(Operated(site, **options), subject, DoctorSeverity.PROBLEM)


def test_the_doctor_tries_what_the_options_need_and_finds_it(
    site: Site, tmp_path: Path, monkeypatch
) -> None:
    ran = tmp_path / "ran"
    program = tmp_path / "rsync"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("WATCHER", "http://localhost/")
    operated = Operated(
        site,
        use_rsync=True,
        repozo=program,
        pre_command=f"touch {ran}",
        metrics_file=tmp_path / "m.prom",
        report_file=tmp_path / "r.html",
        ping_url="env:WATCHER",
    )
    assert bad(operated) == []
    assert not ran.exists()


# what is there already


@pytest.mark.parametrize("which", ["run", "destination"])
def test_a_run_at_work(operated: Operated, which: str) -> None:
    operated.backup()
    directory = operated.config_path.parent if which == "run" else operated.destination().home.state
    with locking.one_writer(directory, "somebody"):
        what = the_only(operated, "locks", DoctorSeverity.WARNING)
    assert what == "a run is at work (somebody)"


def test_a_file_that_is_missing(operated: Operated) -> None:
    operated.backup()
    [part] = operated.place().filestorage.glob("*.fsz")
    part.unlink()
    assert ("backups", DoctorSeverity.PROBLEM) in [it[:2] for it in bad(operated)]


ARABIC = "2026-03-01-12-00-00".translate({ord("0") + it: 0x660 + it for it in range(10)})
"""What would be a stamp, in digits that no release writes."""


@pytest.mark.parametrize("style", [{}, {"archive_blob": True}, {"blob_timestamps": False}])
def test_what_is_not_ours_is_mentioned(operated: Operated, style: dict[str, Any]) -> None:
    operated = Operated(operated.site, **style)
    for number in range(3):
        operated.site.commit({"page": number}, {"file": b"%d" % number}, at=operated.now)
        operated.backup(full=number == 2)
    ours = [it.what for it in found(operated) if "not ours" in it.what]
    assert ours == []

    place = operated.place()
    for directory, names in (
        (place.filestorage, ["README", "2026-03-01-12-00-00.fsz.old", f"{ARABIC}.fsz"]),
        (place.blobstorage, [f"blobstorage.{ARABIC}", "a.tar", *(f"n{it}" for it in range(7))]),
    ):
        for name in names:
            (directory / name).write_text("mine")
    said = [(it.severity, it.what, it.where) for it in found(operated) if "not ours" in it.what]
    assert said == [
        (
            DoctorSeverity.OK,
            "not ours, so it stays here for ever: "
            f"2026-03-01-12-00-00.fsz.old, README, {ARABIC}.fsz",
            str(place.filestorage),
        ),
        (
            DoctorSeverity.OK,
            f"not ours, so it stays here for ever: a.tar, blobstorage.{ARABIC}, n0, n1, n2 "
            "and 4 more",
            str(place.blobstorage),
        ),
    ]
    assert bad(operated) == []


def test_stamps_of_the_future(operated: Operated) -> None:
    operated.backup()
    operated.now -= timedelta(hours=12)
    assert the_only(operated, "backups", DoctorSeverity.WARNING) == (
        "the newest restore point is 12 h 0 min in the future"
    )


# the command


def test_the_command_says_it_and_ends_with_3(operated: Operated, capfd) -> None:
    def called(*more: str) -> int:
        return main("doctor", STANDARD, operated.config_path, more)

    assert called() == 0
    assert capfd.readouterr().out.startswith("ok       users        ")
    assert called("--quiet") == 0
    assert "".join(capfd.readouterr()) == ""
    [blob, *_] = operated.site.blobstorage.rglob("*.blob")
    blob.unlink()
    assert called("--quiet") == IntegrityError.exit_code
    said = capfd.readouterr()
    assert said.out.startswith("problem  blobstorage  missing: 1 of 2 blobs")
    assert said.err.startswith("ERROR: the doctor found 1 problem\nERROR: hint: ")
    assert called("--json") == IntegrityError.exit_code
    answer = json.loads(capfd.readouterr().out)
    assert answer["good"] is False
    assert [it["subject"] for it in answer["findings"] if it["severity"] == "problem"] == [
        "blobstorage"
    ]


def test_a_doctor_without_any_right_to_write(operated: Operated) -> None:
    if os.geteuid():
        pytest.skip("root is not installed")
    for path in [operated.site.directory, *operated.site.directory.rglob("*")]:
        path.chmod(0o755 if path.is_dir() else 0o644)
    operated.config_path.write_bytes(dump(operated.config))
    script = (
        "import os, sys; from pathlib import Path; sys.path[:0] = sys.argv[2].split(':')\n"
        "from collective.recipe.backup.operations.preloading import import_all_rooms\n"
        "import_all_rooms()\n"
        "from collective.recipe.backup.cli import main\n"
        "main('doctor', 'standard', sys.argv[1], ['-q'])\n"
        "for path in map(Path, sys.argv[3:]): path.chmod(0o755)\n"
        "os.setgid(65534); os.setuid(65534)\n"
        "sys.exit(main('doctor', 'standard', sys.argv[1], ['-q']))\n"
    )
    closed = [it for it in operated.site.directory.parents if not it.stat().st_mode & 0o005]
    done = subprocess.run(
        [
            *(sys.executable, "-c", script, operated.config_path),
            *(os.pathsep.join(filter(None, sys.path)), *closed),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == IntegrityError.exit_code, done.stderr
    # a backup cannot make its directories; that a restore cannot write is a warning, as this user
    # may have been given the site to read
    assert "found 1 problem\n" in done.stderr
    assert done.stdout.count("it can back up, and not restore") == 1
    assert done.stdout.count("a backup cannot write here: Permission denied") == 1
    # who runs, and who owns
    me, owner = users.user(65534), users.user(os.getuid())
    assert f"users        run by user {me}, but {owner} owns the filestorage" in done.stdout
    hint = rf"it belongs to user {owner} \(mode 0[67][45][45]\), and this is run by user {me}: run"
    assert len(re.findall(hint, done.stdout)) == 1


@pytest.mark.parametrize("closed", ["var/filestorage", "var"])
def test_what_a_user_may_not_look_into_is_told_once(closed: str) -> None:
    """However much of it lies in there."""
    if os.geteuid():
        pytest.skip("root is not installed")
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        site = Site(Path(name) / "site")
        site.commit({"a": 1}, {"b": b"b"}, at=NOON)
        operated = Operated(site)
        operated.backup()
        for path in site.directory.rglob("*"):
            path.chmod(0o755 if path.is_dir() else 0o644)
        place = site.directory / closed
        place.chmod(0o700)
        found(operated)  # what is imported late is imported by one who may
        with nobody():
            denied = [it for it in found(operated) if it.denied and str(place) in it.hint]
    assert len(denied) == 1
    assert denied[0].hint.startswith(f"{place} belongs to user {users.user(0)} (mode 0700), and th")


def test_root_may_look_after_the_site_of_another_user(operated: Operated) -> None:
    if os.geteuid():
        pytest.skip("root is not installed")
    os.chown(operated.site.filestorage, 65534, 65534)
    [finding] = [it for it in found(operated) if it.subject == "users"]
    assert finding.severity is DoctorSeverity.OK
    assert f"{users.user(65534)} owns the filestorage" in finding.what


def test_the_owner_is_named_once(operated: Operated) -> None:
    operated.backup()
    [finding] = [it for it in found(operated) if it.subject == "users"]
    me = users.user(os.geteuid())
    assert finding.what == f"run by user {me}, who owns the site and its backups"


def test_the_same_finding_of_two_looks_is_one() -> None:
    one = DoctorFinding(
        subject="a", severity=DoctorSeverity.PROBLEM, what="it is gone", where="/srv", hint="h"
    )
    other = DoctorFinding(
        subject="b", severity=DoctorSeverity.PROBLEM, what="it is gone", where="/srv"
    )
    assert list(users.once(iter([one, other, one]))) == [one]
