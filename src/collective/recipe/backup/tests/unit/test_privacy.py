"""Backups are open to no more users than the site, which comes back as private as it was."""

from __future__ import annotations

import os
import shutil
import stat
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from collective.recipe.backup import copyblobs
from collective.recipe.backup.audience import Audience, audience_of
from collective.recipe.backup.blobs.layout import MARKER
from collective.recipe.backup.destinations import manifest
from collective.recipe.backup.files import Files
from collective.recipe.backup.findings import DoctorSeverity
from collective.recipe.backup.operations import report
from collective.recipe.backup.operations.doctor import examine
from collective.recipe.backup.repozo.command import main as repozo
from collective.recipe.backup.rights import Rights, rights_of, understood, written
from collective.recipe.backup.tests.runs import NOON, Operated
from collective.recipe.backup.tests.samples import Site

STYLES = {
    "a tree for each chain": {},
    "a tree for each backup": {"blob_snapshots": "each"},
    "numbered trees": {"blob_timestamps": False},
    "rsync": {"use_rsync": True},
    "archives": {"archive_blob": True},
    "incremental archives": {"archive_blob": True, "incremental_blobs": True, "full": False},
    "compressed archives": {"archive_blob": True, "compress_blob": True},
    "blobs alone": {"only_blobs": True},
    "no gzip": {"gzip": False},
}
SOMEBODY, THEIR_GROUP, OTHERS_GROUP = 4711, 4712, 4713

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")


@pytest.fixture(autouse=True)
def umask() -> Iterator[None]:
    """Whatever the tests run with, a umask that keeps nothing private."""
    before = os.umask(0)
    yield
    os.umask(before)


def close(site: Site, *, file: int = 0o600, directory: int = 0o700) -> None:
    site.filestorage.chmod(file)
    site.filestorage.parent.chmod(directory)
    site.blobstorage.chmod(directory)


def bits(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def made(operated: Operated) -> list[Path]:
    """Return what backups have made, but for copies of what is in the blobstorage."""
    found = []
    for directory in filter(None, (operated.place().filestorage, operated.place().blobstorage)):
        if directory.exists():
            found += [directory, *directory.rglob("*")]
    trees = [path for path in found if path.name == MARKER]
    inside = {each for tree in trees for each in tree.parent.rglob("*")}
    return [path for path in found if path not in inside and not path.is_symlink()]


def backed_up(operated: Operated) -> None:
    site = operated.site
    for number, full in enumerate([True, False, True]):
        site.commit({"a": number}, {f"b{number}": b"blob"}, at=operated.now)
        operated.backup(full=full)


@pytest.mark.parametrize("options", STYLES.values(), ids=STYLES)
def test_all_that_backups_of_a_private_site_make_is_private(site: Site, options: dict) -> None:
    operated = Operated(site, **options)
    site.commit({"a": 0}, {"b": b"blob"}, at=NOON)
    close(site)
    backed_up(operated)

    paths = made(operated)

    assert len(paths) > 6
    assert [path for path in paths if bits(path) & 0o077] == []


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o644])
def test_a_new_report_is_open_to_no_more_users_than_the_site(
    site: Site, tmp_path: Path, mode: int
) -> None:
    os.umask(0o022)
    site.filestorage.chmod(mode)
    path = tmp_path / "report.html"
    report.write(Operated(site).run("report"), path)
    assert bits(path) == mode


def test_a_report_that_is_there_stays_as_open_as_it_is(site: Site, tmp_path: Path) -> None:
    os.umask(0o077)
    site.filestorage.chmod(0o600)
    path = tmp_path / "report.html"
    path.touch()
    path.chmod(0o644)
    report.write(Operated(site).run("report"), path)
    assert bits(path) == 0o644
    path.chmod(0o600)
    report.write(Operated(site).run("report"), path)
    assert bits(path) == 0o600


def test_metrics_are_for_everybody_whatever_the_umask(site: Site, tmp_path: Path) -> None:
    os.umask(0o077)
    site.filestorage.chmod(0o600)
    path = tmp_path / "backup.prom"
    Operated(site, metrics_file=path).backup()
    assert bits(path) == 0o644


def test_what_others_may_read_stays_open_to_them(site: Site) -> None:
    operated = Operated(site)
    close(site, file=0o644, directory=0o755)
    os.umask(0o022)
    backed_up(operated)

    assert {bits(path) for path in made(operated) if path.is_file()} == {0o644}
    assert {bits(path) for path in made(operated) if path.is_dir()} == {0o755}


def test_directories_on_the_way_count(site: Site, tmp_path: Path) -> None:
    operated = Operated(site)
    close(site, file=0o644, directory=0o700)
    backed_up(operated)

    assert [path for path in made(operated) if bits(path) & 0o077] == []


@as_root
def test_a_group_may_read_what_it_may_read_in_the_site(site: Site) -> None:
    operated = Operated(site)
    close(site, file=0o640, directory=0o750)
    for path in (site.filestorage, site.filestorage.parent, site.blobstorage):
        os.chown(path, SOMEBODY, THEIR_GROUP)
    for kind, group in (("backups", THEIR_GROUP), ("blobstoragebackups", OTHERS_GROUP)):
        directory = site.directory / "var" / kind
        directory.mkdir(mode=0o750)
        os.chown(directory, SOMEBODY, group)
    os.umask(0o022)
    backed_up(operated)

    shared, others = operated.place().filestorage, operated.place().blobstorage
    files = [path for path in shared.iterdir() if path.name.startswith("2")]
    assert files
    assert {(bits(path), path.stat().st_gid) for path in files} == {(0o640, THEIR_GROUP)}
    theirs = [path for path in made(operated) if others in path.parents]
    assert {path.stat().st_gid for path in theirs} == {THEIR_GROUP, OTHERS_GROUP}
    assert [it for it in theirs if bits(it) & 0o077 and it.stat().st_gid == OTHERS_GROUP] == []


@as_root
def test_a_copy_of_another_group_is_not_open_to_that_one(tmp_path: Path) -> None:
    (tmp_path / "source").write_bytes(b"data")
    (tmp_path / "source").chmod(0o640)
    os.chown(tmp_path / "source", 0, THEIR_GROUP)

    class Unable(Files):
        def _change(self, operation, path, function, *args, **kwargs):
            if operation == "chown":
                raise PermissionError(1, "Operation not permitted")
            return super()._change(operation, path, function, *args, **kwargs)

    Unable().copy(tmp_path / "source", tmp_path / "copy")
    assert bits(tmp_path / "copy") == 0o600
    Files().copy(tmp_path / "source", tmp_path / "like")
    assert (bits(tmp_path / "like"), (tmp_path / "like").stat().st_gid) == (0o640, THEIR_GROUP)


@as_root
@pytest.mark.parametrize("options", STYLES.values(), ids=STYLES)
@pytest.mark.parametrize("elsewhere", [False, True], ids=["after a loss", "to another place"])
def test_modes_and_owners_come_back(
    site: Site, tmp_path: Path, options: dict, *, elsewhere: bool
) -> None:
    operated = Operated(site, **options)
    site.commit({"a": 0}, {"b": b"blob"}, at=NOON)
    close(site, directory=0o710)
    for path in (site.filestorage, site.filestorage.parent, site.blobstorage):
        os.chown(path, SOMEBODY, THEIR_GROUP)
    backed_up(operated)
    filestorage, blobs = site.filestorage, site.blobstorage
    if elsewhere:
        filestorage, blobs = tmp_path / "new" / "Data.fs", tmp_path / "new" / "blobstorage"
    else:
        shutil.rmtree(site.filestorage.parent)
        shutil.rmtree(site.blobstorage)

    operated.restore(to=tmp_path / "new" if elsewhere else None)

    wanted = {blobs: 0o710}
    if not options.get("only_blobs"):
        wanted |= {
            filestorage: 0o600,
            filestorage.with_name("Data.fs.index"): 0o600,
            filestorage.parent: 0o710,
        }
    for path, mode in wanted.items():
        status = path.stat()
        assert (path, oct(bits(path)), status.st_uid, status.st_gid) == (
            path,
            oct(mode),
            SOMEBODY,
            THEIR_GROUP,
        )


def test_what_is_there_keeps_its_own_modes(site: Site) -> None:
    operated = Operated(site)
    close(site, file=0o644, directory=0o755)
    backed_up(operated)
    close(site)

    site.filestorage.write_bytes(b"rubbish")
    operated.restore()

    assert bits(site.filestorage) == 0o600
    assert bits(site.filestorage.with_name("Data.fs.index")) == 0o600
    assert bits(site.filestorage.parent) == bits(site.blobstorage) == 0o700


def test_modes_that_change_alone_are_recorded(site: Site) -> None:
    operated = Operated(site)
    close(site, file=0o644, directory=0o755)
    backed_up(operated)
    close(site)

    assert not operated.backup().changed

    rights = operated.points()[-1].rights
    assert {what: it.mode for what, it in rights.items()} == {
        "filestorage": 0o600,
        "directory": 0o700,
        "blobstorage": 0o700,
    }
    before = {path: path.stat() for path in operated.place().filestorage.glob("*.json")}
    operated.backup()
    assert {path: path.stat() for path in before} == before


def test_of_older_backups_the_data_file_tells(site: Site) -> None:
    operated = Operated(site)
    close(site)
    backed_up(operated)
    for path in operated.place().filestorage.glob("*.json"):
        found = manifest.read(path.parent, path.stem)
        assert found is not None
        data = manifest.FORM.encode(
            {key: it for key, it in manifest.as_table(found).items() if key != "rights"}
        )
        path.write_bytes(data)
    shutil.rmtree(site.filestorage.parent)

    operated.restore()

    assert bits(site.filestorage) == 0o600
    assert bits(site.filestorage.with_name("Data.fs.index")) == 0o600


def test_a_program_in_the_place_of_repozo_makes_nothing_open(site: Site, tmp_path: Path) -> None:
    program = tmp_path / "repozo"
    theirs = Path(sys.executable).with_name("repozo")
    program.write_text(f'#!/bin/sh\nexec {theirs} "$@"\n', "utf-8")
    program.chmod(0o755)
    operated = Operated(site, repozo=program)
    site.commit({"a": 0}, {"b": b"blob"}, at=NOON)
    close(site)
    operated.backup()
    shutil.rmtree(site.filestorage.parent)

    assert [path for path in made(operated) if bits(path) & 0o077] == []
    operated.restore()
    assert bits(site.filestorage) == 0o600


def test_our_repozo_makes_nothing_open(site: Site, tmp_path: Path) -> None:
    site.commit({"a": 0}, at=NOON)
    close(site)
    (tmp_path / "repository").mkdir()
    arguments = ["-r", str(tmp_path / "repository")]

    assert repozo(["-B", "-z", "-f", str(site.filestorage), *arguments]) == 0
    assert repozo(["-R", "-o", str(tmp_path / "Data.fs"), *arguments]) == 0

    assert [path for path in (tmp_path / "repository").glob("2*") if bits(path) & 0o077] == []
    assert bits(tmp_path / "Data.fs") == 0o600


def test_the_functions_of_older_releases_make_nothing_open(site: Site, tmp_path: Path) -> None:
    site.commit({}, {"b": b"blob"}, at=NOON)
    close(site)
    copyblobs.backup_blobs(site.blobstorage, tmp_path / "blobs")
    copyblobs.backup_blobs_archive(site.blobstorage, tmp_path / "archives")

    for directory in (tmp_path / "blobs", tmp_path / "archives"):
        assert [path for path in (directory, *directory.iterdir()) if bits(path) & 0o077] == []


class TestDoctor:
    def test_the_doctor_says_which_backups_are_open_to_more_users(self, site: Site) -> None:
        operated = Operated(site)
        close(site, file=0o644, directory=0o755)
        backed_up(operated)
        assert self.found(operated) == []
        close(site)

        first, second = self.found(operated)

        assert first.severity is DoctorSeverity.WARNING
        assert f"users who may not read {site.filestorage} may read this and" in first.what
        assert Path(first.where).parent == operated.place().filestorage
        assert first.hint.startswith(f"chmod go-rwx {operated.place().filestorage} keeps")
        assert operated.place().blobstorage in Path(second.where).parents

    def test_a_closed_directory_is_enough(self, site: Site) -> None:
        operated = Operated(site)
        close(site, file=0o644, directory=0o755)
        backed_up(operated)
        close(site)
        for finding in self.found(operated):
            command, mode, path, *_rest = finding.hint.split()
            assert (command, mode) == ("chmod", "go-rwx")
            Path(path).chmod(0o700)
        assert self.found(operated) == []

    @staticmethod
    def found(operated: Operated) -> list:
        return [it for it in examine(operated.run("doctor")) if it.subject == "privacy"]


class TestAudience:
    @pytest.mark.parametrize(
        ("file", "directory", "others", "group"),
        [
            (0o644, 0o755, True, True),
            (0o640, 0o755, False, True),
            (0o604, 0o755, True, False),
            (0o600, 0o755, False, False),
            (0o644, 0o711, True, True),
            (0o644, 0o750, False, True),
            (0o644, 0o740, False, False),
            (0o644, 0o705, True, False),
            (0o644, 0o700, False, False),
        ],
    )
    def test_a_reader_needs_the_file_and_the_directories_above_it(
        self, tmp_path: Path, file: int, directory: int, *, others: bool, group: bool
    ) -> None:
        (tmp_path / "d").mkdir()
        (tmp_path / "d" / "f").touch()
        (tmp_path / "d" / "f").chmod(file)
        (tmp_path / "d").chmod(directory)
        found = audience_of(tmp_path / "d" / "f", beside=tmp_path / "backups" / "f")
        assert found.others == others
        assert (os.getegid() in found.groups) == group

    def test_a_directory_that_holds_both_does_not_count(self, tmp_path: Path) -> None:
        (tmp_path / "home").mkdir(mode=0o700)
        (tmp_path / "home" / "f").touch()
        (tmp_path / "home" / "f").chmod(0o644)
        assert audience_of(tmp_path / "home" / "f", beside=tmp_path / "home" / "b" / "f").others
        (tmp_path / "alias").symlink_to("home")
        assert audience_of(tmp_path / "alias" / "f", beside=tmp_path / "home" / "b" / "f").others
        assert audience_of(tmp_path / "home" / "f", beside=tmp_path / "homes").nobody

    def test_nobody_may_read_what_is_not_there(self, tmp_path: Path) -> None:
        assert audience_of(tmp_path / "none", beside=tmp_path).nobody

    def test_a_group_of_others_is_no_more_than_others(self) -> None:
        open_to_all = Audience(others=True, groups=frozenset({1}))
        open_to_one = Audience(others=False, groups=frozenset({1}))
        assert open_to_all.exceeds(open_to_one)
        assert not open_to_one.exceeds(open_to_all)
        assert open_to_one.exceeds(Audience(others=False, groups=frozenset({2})))
        assert open_to_one.mask(1) == 0o770
        assert open_to_one.mask(2) == 0o700
        assert open_to_all.mask(2) == 0o777


class TestRights:
    def test_rights_are_understood_as_they_were_written(self, tmp_path: Path) -> None:
        tmp_path.chmod(0o2750)
        rights = rights_of(tmp_path)
        assert understood(written(rights)) == rights
        assert written(rights)[0] == "2750"

    def test_a_name_counts_and_an_unknown_one_leaves_the_number(self) -> None:
        rights = Rights(mode=0o600, uid=4711, gid=4712, user="root", group="no such group")
        status = rights.as_status()
        assert (status.st_uid, status.st_gid, status.st_mode) == (0, 4712, 0o600)

    @pytest.mark.parametrize(
        "texts",
        [
            ["rw", "0", "", "0", ""],
            ["99999", "0", "", "0", ""],
            ["-1", "0", "", "0", ""],
            ["600", "-1", "", "0", ""],
            ["600", "0", "", str(1 << 32), ""],
        ],
    )
    def test_rights_that_make_no_sense_are_refused(self, texts: list[str]) -> None:
        with pytest.raises(ValueError, match="rights|invalid"):
            understood(texts)
