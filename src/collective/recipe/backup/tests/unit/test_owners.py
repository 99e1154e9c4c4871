"""Two sites that share a directory of backups, and sites that only look like two."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from collective.recipe.backup.config import STANDARD, dump
from collective.recipe.backup.destinations import Depth, ownermarks
from collective.recipe.backup.errors import ConfigurationError, IntegrityError
from collective.recipe.backup.findings import DoctorSeverity
from collective.recipe.backup.operations.backup import tidy_now
from collective.recipe.backup.operations.doctor import examine
from collective.recipe.backup.operations.prune import prune
from collective.recipe.backup.tests.runs import NOON, Operated, copied
from collective.recipe.backup.tests.samples import Site
from collective.recipe.backup.tests.smallfiles import of_later_release, rewrite

pytestmark = pytest.mark.usefixtures("leaping")


def configured(operated: Operated, **places: Path) -> Operated:
    """Let *operated* keep its backups in other places."""
    place = replace(operated.place(), **places)
    destinations = {**operated.config.destinations, STANDARD: (place,)}
    operated.config = replace(operated.config, destinations=destinations)
    operated.config_path.write_bytes(dump(operated.config))
    return operated


def with_source(operated: Operated, **paths: Path) -> Operated:
    """Let *operated* back up other places."""
    source = replace(operated.config.sources[0], **paths)
    operated.config = replace(operated.config, sources=(source,))
    operated.config_path.write_bytes(dump(operated.config))
    return operated


def site_at(directory: Path, name: str, **options: Any) -> Operated:
    """Return a site with a blob, which is not backed up yet."""
    operated = Operated(Site(directory / name), **options)
    operated.site.commit({"name": name}, {name: name.encode()})
    return operated


@pytest.fixture
def first(tmp_path: Path) -> Operated:
    """A site that is backed up."""
    operated = site_at(tmp_path, "first", keep=1)
    operated.backup()
    return operated


def mark_of(operated: Operated) -> Path:
    return operated.place().filestorage / ownermarks.NAME


def blob_mark_of(operated: Operated) -> Path:
    directory = operated.place().blobstorage
    assert directory is not None
    return directory / f"{ownermarks.NAME}.blobstorage"


def on_another_machine(*marks: Path) -> None:
    """Let marks say that another machine has left them."""
    for mark in marks:
        rewrite(mark, ownermarks.FORM, host="elsewhere")


def second_in_the_blobs_of(first: Operated, directory: Path, **options: Any) -> Operated:
    second = site_at(directory, "second", keep=1, **options)
    second.now = first.now
    return configured(second, blobstorage=first.place().blobstorage)


def test_blobs_of_another_site_are_not_pruned(first: Operated, tmp_path: Path) -> None:
    """The site that comes second is refused before it writes, and told how to go on."""
    second = second_in_the_blobs_of(first, tmp_path)

    for _again in range(2):
        with pytest.raises(ConfigurationError) as caught:
            second.backup(full=True)

    assert str(first.place().filestorage) in caught.value.what
    assert caught.value.where == str(first.place().blobstorage)
    assert blob_mark_of(first).name in caught.value.hint
    assert second.points() == []
    assert not [*first.destination().verify(Depth.RECORDS)]
    before = first.site.contents()
    first.restore()
    assert first.site.contents() == before


def test_the_doctor_finds_it_before_the_first_night(first: Operated, tmp_path: Path) -> None:
    """What a backup would say, and nothing is written."""
    second = second_in_the_blobs_of(first, tmp_path)
    marks = mark_of(first).read_bytes(), blob_mark_of(first).read_bytes()

    for asked in (second, first):
        refused = [it for it in examine(asked.run("doctor")) if it.subject == "owner"]
        assert [(it.severity, it.where) for it in refused] == (
            [(DoctorSeverity.PROBLEM, str(first.place().blobstorage))]
            if asked is second
            else [(DoctorSeverity.OK, "")]
        )

    assert (
        blob_mark_of(first).name
        in list(it.hint for it in examine(second.run("doctor")) if it.subject == "owner")[0]
    )
    assert (mark_of(first).read_bytes(), blob_mark_of(first).read_bytes()) == marks
    assert not mark_of(second).exists()


@pytest.mark.parametrize("options", [{}, {"only_blobs": True}])
def test_the_doctor_finds_two_sites_in_one_directory(
    tmp_path: Path, options: dict[str, Any]
) -> None:
    first = site_at(tmp_path, "first", **options)
    first.backup()
    place = first.place()
    second = configured(
        site_at(tmp_path, "second", **options),
        filestorage=place.filestorage,
        blobstorage=place.blobstorage,
    )

    [finding] = [it for it in examine(second.run("doctor")) if it.subject == "owner"]

    assert finding.severity is DoctorSeverity.PROBLEM
    with pytest.raises(ConfigurationError) as caught:
        second.backup()
    error = caught.value
    assert (finding.what, finding.where, finding.hint) == (error.what, error.where, error.hint)


def test_a_prune_alone_does_not_mix_two_sites(first: Operated, tmp_path: Path) -> None:
    second = site_at(tmp_path, "second", keep=1)
    for _time in range(2):
        second.now = first.now
        second.backup(full=True)
    configured(second, blobstorage=first.place().blobstorage)

    for refused in (prune, tidy_now):
        with pytest.raises(ConfigurationError):
            refused(second.run("prune"))

    assert first.points()[-1].whole


def test_storages_with_other_names_may_share_a_directory(first: Operated, tmp_path: Path) -> None:
    second = second_in_the_blobs_of(first, tmp_path)
    renamed = second.site.blobstorage.with_name("blobs")
    second.site.blobstorage.rename(renamed)
    with_source(second, blobstorage=renamed)

    for operated in (second, first, second, first):
        operated.backup(full=True)

    assert [point.whole for point in (*first.points(), *second.points())] == [True, True]


def test_two_sites_with_one_location_do_not_mix(first: Operated, tmp_path: Path) -> None:
    second = configured(
        site_at(tmp_path, "second"),
        filestorage=first.place().filestorage,
        blobstorage=tmp_path / "blobs of the second",
    )
    before = first.points()

    with pytest.raises(ConfigurationError, match=r"first/var/filestorage/Data\.fs"):
        second.backup()

    assert first.points() == before


def test_a_site_takes_over_a_directory_whose_mark_was_removed(
    first: Operated, tmp_path: Path
) -> None:
    second = configured(site_at(tmp_path, "second"), filestorage=first.place().filestorage)
    second.now = first.now
    mark_of(first).unlink()

    second.backup()

    with pytest.raises(ConfigurationError, match=r"second/var/filestorage/Data\.fs"):
        first.backup()


def test_directories_of_older_releases_have_no_mark_and_are_adopted(
    first: Operated,
) -> None:
    mark_of(first).unlink()
    blob_mark_of(first).unlink()
    first.site.commit({"a": 1})

    assert first.backup().changed

    assert mark_of(first).exists()
    assert blob_mark_of(first).exists()


def test_marks_are_written_once(first: Operated) -> None:
    """A backup without anything new writes nothing."""
    marks = [mark_of(first), blob_mark_of(first)]
    before = [(mark.stat().st_ino, mark.stat().st_ctime_ns) for mark in marks]

    first.backup()

    assert [(mark.stat().st_ino, mark.stat().st_ctime_ns) for mark in marks] == before


def test_a_site_may_move(first: Operated, tmp_path: Path) -> None:
    """Its backups stay where they are; the marks follow it, and keep the others out."""
    place = first.place()
    for directory in (place.filestorage, place.blobstorage):
        assert directory is not None
        directory.rename(tmp_path / directory.name)
    (tmp_path / "first").rename(tmp_path / "moved")
    moved = configured(
        Operated(Site(tmp_path / "moved")),
        filestorage=tmp_path / "backups",
        blobstorage=tmp_path / "blobstoragebackups",
    )
    moved.now = first.now
    moved.site.commit({"a": 1})

    assert moved.backup().changed

    assert json.loads(mark_of(moved).read_bytes())["filestorage"] == str(moved.site.filestorage)
    assert len(moved.points()) == 2


def test_a_site_may_move_filestorage_and_blobs_at_once(first: Operated) -> None:
    var = first.site.filestorage.parent.parent
    first.site.filestorage.parent.rename(var / "other")
    with_source(first, filestorage=var / "other" / "Data.fs")

    assert not first.backup().changed


def test_a_site_on_another_machine_is_known_by_its_transactions(first: Operated) -> None:
    """As in a container, whose host name is another one each time."""
    on_another_machine(mark_of(first), blob_mark_of(first))
    first.site.commit({"a": 1})
    first.site.pack()

    assert first.backup().changed

    assert json.loads(mark_of(first).read_bytes())["host"] == os.uname().nodename


def test_a_site_in_the_same_place_on_another_machine_is_another_one(
    first: Operated, tmp_path: Path
) -> None:
    """A new, empty filestorage must not push the backups of the old one out."""
    on_another_machine(mark_of(first))
    (first.site.directory / "var" / "filestorage").rename(tmp_path / "old")
    shutil.rmtree(first.site.blobstorage)
    site = Site(first.site.directory, founded=NOON)
    site.commit({"a": 1})

    with pytest.raises(ConfigurationError, match="elsewhere"):
        first.backup()


def test_the_copy_of_a_site_owns_its_copies_of_the_backups(first: Operated, tmp_path: Path) -> None:
    copy = copied(first, tmp_path / "copy")
    for operated in (copy, first, copy, first):
        operated.site.commit({"a": operated.now})
        assert operated.backup().changed


def test_the_copy_of_a_site_does_not_own_the_blob_backups_of_the_original(
    first: Operated, tmp_path: Path
) -> None:
    copy = configured(copied(first, tmp_path / "copy"), blobstorage=first.place().blobstorage)
    copy.site.commit({"a": 1})

    with pytest.raises(ConfigurationError):
        copy.backup()

    first.backup(full=True)


def test_backups_may_move_to_another_disk(first: Operated, tmp_path: Path) -> None:
    """Both, or only one of the two directories; a copy has another inode."""
    blobs = first.place().blobstorage
    assert blobs is not None
    for number, (moved, option) in enumerate(
        [(first.place().filestorage, "filestorage"), (blobs, "blobstorage")]
    ):
        there = tmp_path / str(number)
        shutil.copytree(moved, there, symlinks=True)
        shutil.rmtree(moved)
        configured(first, **{option: there})
        first.site.commit({"number": number})
        assert first.backup().changed
    assert len(first.points()) == 3


def test_a_new_location_leaves_the_blobs_of_the_old_one_alone(
    first: Operated, tmp_path: Path
) -> None:
    old = first.place().filestorage
    configured(first, filestorage=tmp_path / "new")
    with pytest.raises(ConfigurationError) as caught:
        first.backup()
    assert str(old) in caught.value.what

    shutil.rmtree(old)

    assert first.backup().changed


def test_two_parts_of_one_site_may_share_both(first: Operated, tmp_path: Path) -> None:
    other = Operated(Site(first.site.directory))
    other.config = replace(other.config, part="other")
    other.now = first.now
    other.site.commit({"a": 1})

    assert other.backup().changed
    assert not first.backup().changed


def test_another_place_is_restored_from_whoever_owns_it(first: Operated, tmp_path: Path) -> None:
    """Readers look at no mark, and leave none."""
    stage = configured(
        site_at(tmp_path, "stage"),
        filestorage=first.place().filestorage,
        blobstorage=first.place().blobstorage,
    )
    before = {path: path.read_bytes() for path in (mark_of(first), blob_mark_of(first))}

    stage.restore()

    assert stage.site.contents() == first.site.contents()
    assert {path: path.read_bytes() for path in before} == before


def test_blobs_alone_have_an_owner_too(tmp_path: Path) -> None:
    first = site_at(tmp_path, "first", only_blobs=True)
    first.backup()
    second = second_in_the_blobs_of(first, tmp_path, only_blobs=True)

    with pytest.raises(ConfigurationError, match="first/var/blobstorage"):
        second.backup()

    on_another_machine(blob_mark_of(first))
    with pytest.raises(ConfigurationError, match="elsewhere"):
        second.backup()
    first.site.commit(blobs={"more": b"more"})
    assert first.backup().changed


def test_only_blobs_may_be_set_and_unset(first: Operated) -> None:
    only = Operated(first.site, only_blobs=True, keep=1)
    again = Operated(first.site, keep=1)
    now = first.now
    for operated in (only, again, only, first):
        now = operated.now = max(now, operated.now)
        operated.backup(full=True)
        now = operated.now


def test_blobs_of_a_site_alone_are_not_those_of_another(first: Operated, tmp_path: Path) -> None:
    alone = second_in_the_blobs_of(first, tmp_path, only_blobs=True)

    with pytest.raises(ConfigurationError, match="first/var/blobstorage"):
        alone.backup()


@pytest.mark.parametrize("damage", [b"", b"{}", b"[]", b'{"format": 2}'])
@pytest.mark.parametrize("mark", [mark_of, blob_mark_of])
def test_a_damaged_mark_does_not_stop_who_knows_what_is_there(
    first: Operated, mark: Callable[[Operated], Path], damage: bytes
) -> None:
    """No night is lost for it: it is written anew."""
    before = mark(first).read_bytes()
    mark(first).write_bytes(damage)
    first.site.commit({"a": 1})

    assert first.backup().changed

    assert mark(first).read_bytes() == before


@pytest.mark.parametrize(
    ("mark", "option"), [(mark_of, "filestorage"), (blob_mark_of, "blobstorage")]
)
def test_a_damaged_mark_stops_other_sites_and_is_named(
    first: Operated, tmp_path: Path, mark: Callable[[Operated], Path], option: str
) -> None:
    mark(first).write_bytes(b"{}")
    second = configured(
        Operated(Site(tmp_path / "second", founded=NOON)),
        **{option: getattr(first.place(), option)},
    )
    second.site.commit({"a": 1}, {"a": b"a"})

    with pytest.raises(IntegrityError) as caught:
        second.backup()

    assert caught.value.where == str(mark(first))


@pytest.mark.parametrize("mark", [mark_of, blob_mark_of])
def test_a_pipe_in_the_place_of_a_mark_is_replaced_by_who_knows_what_is_there(
    first: Operated, mark: Callable[[Operated], Path]
) -> None:
    before = mark(first).read_bytes()
    mark(first).unlink()
    os.mkfifo(mark(first))
    first.site.commit({"a": 1})

    assert first.backup().changed

    assert mark(first).read_bytes() == before


@pytest.mark.parametrize("mark", [mark_of, blob_mark_of])
def test_a_mark_of_a_later_release_keeps_everybody_out_and_stays(
    first: Operated, mark: Callable[[Operated], Path]
) -> None:
    of_later_release(mark(first), ownermarks.FORM)
    before = mark(first).read_bytes()
    first.site.commit({"a": 1})

    with pytest.raises(IntegrityError, match="a later release wrote it") as caught:
        first.backup()

    assert "back up with that release" in caught.value.hint
    assert mark(first).read_bytes() == before


def test_a_damaged_mark_of_blobs_alone_does_not_stop_who_knows_them(tmp_path: Path) -> None:
    only = site_at(tmp_path, "only", only_blobs=True)
    only.backup()
    blob_mark_of(only).write_bytes(b"{}")
    assert not only.backup().changed


def emptied(directory: Path | None) -> None:
    """Remove what there is, as rm does with a star: all but what begins with a dot."""
    assert directory is not None
    for path in sorted(directory.iterdir()):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        elif not path.name.startswith("."):
            path.unlink()


def test_a_mark_that_is_left_in_an_empty_directory_keeps_nobody_out(
    first: Operated, tmp_path: Path
) -> None:
    """As after a site that was told the place of another one, or died before its first backup."""
    place = first.place()
    emptied(place.filestorage)
    emptied(place.blobstorage)
    second = configured(
        site_at(tmp_path, "second"), filestorage=place.filestorage, blobstorage=place.blobstorage
    )
    second.now = first.now

    assert second.backup().changed

    with pytest.raises(ConfigurationError, match=r"second/var/filestorage/Data\.fs"):
        first.backup()


def test_a_site_that_begins_anew_on_another_machine_keeps_the_blobs(first: Operated) -> None:
    """As in a container: the blobs are still its own."""
    marks = [mark_of(first), blob_mark_of(first)]
    on_another_machine(*marks)
    for mark in marks:
        # its name is part of the key
        rewrite(mark, ownermarks.FORM, key="0" * 32)
    emptied(first.place().filestorage)
    assert first.backup().changed


def test_a_site_of_blobs_alone_that_begins_anew_keeps_the_blobs(tmp_path: Path) -> None:
    first = site_at(tmp_path, "first", only_blobs=True)
    first.backup()
    emptied(first.place().blobstorage)
    second = second_in_the_blobs_of(first, tmp_path, only_blobs=True)
    assert second.backup().changed


def test_an_owner_without_blobs_there_yet_is_not_overtaken(first: Operated, tmp_path: Path) -> None:
    """Their first backup may be under way; it has its lock elsewhere."""
    emptied(first.place().blobstorage)
    for options in {}, {"only_blobs": True}:
        with pytest.raises(ConfigurationError):
            second_in_the_blobs_of(first, tmp_path, **options).backup()


def test_a_large_filestorage_is_not_read_to_know_whose_backups_these_are(first: Operated) -> None:
    """A host name that is another one each night costs nothing, also when an old pack is near."""
    first.site.pack()
    first.site.commit({"a": 1})
    first.backup()
    on_another_machine(mark_of(first))
    with first.site.filestorage.open("r+b") as file:
        # who reads from the begin on meets no transaction that is one
        file.seek(4)
        file.write(b"\xff" * 16)

    first.destination().claim()

    assert json.loads(mark_of(first).read_bytes())["host"] == os.uname().nodename


def test_paths_are_any_bytes(tmp_path: Path) -> None:
    directory = tmp_path / os.fsdecode(b"caf\xe9\nsite")
    operated = site_at(directory, "first")
    operated.backup()

    second = configured(site_at(tmp_path, "second"), filestorage=operated.place().filestorage)
    with pytest.raises(ConfigurationError) as caught:
        second.backup()
    str(caught.value).encode()
    assert not operated.backup().changed
