"""Each style of keeping blobs keeps the contract of destinations, and its own promises."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from collective.recipe.backup.blobs import copied, holdings
from collective.recipe.backup.blobs.numbered import NumberedSet
from collective.recipe.backup.config import STANDARD
from collective.recipe.backup.destinations import Depth
from collective.recipe.backup.errors import (
    BackupError,
    CommandFailed,
    IntegrityError,
    NoRestorePoint,
)
from collective.recipe.backup.restorepoints import choose
from collective.recipe.backup.restoring.staging import Targets
from collective.recipe.backup.tests.blobtrees import content, nobody
from collective.recipe.backup.tests.contracts.destination import DestinationContract, staged
from collective.recipe.backup.tests.runs import Operated
from collective.recipe.backup.tests.samples import Site
from collective.recipe.backup.tests.staged import stage_choice

STYLES = {
    "each": {"blob_snapshots": "each"},
    "numbered": {"blob_timestamps": False},
    "linked-first": {"rsync_hard_links_on_first_copy": True},
    "archives": {"archive_blob": True},
    "compressed": {"archive_blob": True, "compress_blob": True},
    "incremental": {"archive_blob": True, "incremental_blobs": True},
    "incremental-compressed": {
        "archive_blob": True,
        "incremental_blobs": True,
        "compress_blob": True,
    },
    "numbered-archives": {"archive_blob": True, "blob_timestamps": False},
    "rsync": {"use_rsync": True},
    "rsync-numbered": {
        "use_rsync": True,
        "blob_timestamps": False,
        "rsync_hard_links_on_first_copy": True,
    },
}


def parametrized(styles: Mapping[str, dict]):
    return pytest.mark.parametrize(
        "options",
        [
            pytest.param(
                options, id=name, marks=[pytest.mark.needs("rsync")] if "rsync" in name[:5] else []
            )
            for name, options in styles.items()
        ],
    )


each_style = parametrized(STYLES)
each_style_and_the_usual_one = parametrized({"chain": {}, **STYLES})


@each_style
class TestStyles(DestinationContract):
    """A directory, in every style."""

    @pytest.fixture
    def operated(self, site, options) -> Operated:
        return Operated(site, **options)


def states(operated: Operated, options: Sequence[dict], *, pack: int = -1) -> dict:
    """Back up once with each of *options*; return what the site held at each restore point."""
    found = {}
    for number, more in enumerate(options):
        operated = again(operated, keep=0, **more)
        operated.site.commit({"a": number}, {"a": b"%d" % number, f"b{number}": b"new"})
        if number == pack:
            operated.site.pack()
        found[operated.backup().point.moment] = operated.site.contents()
    return found


def again(operated: Operated, **options) -> Operated:
    """Return the same site with other options."""
    other = Operated(operated.site, **options)
    other.now = operated.now
    return other


@pytest.mark.slow
@pytest.mark.needs("rsync")
@pytest.mark.parametrize("pack", [-1, 7])
def test_styles_may_change_with_each_backup(site, tmp_path, pack) -> None:
    order = [*STYLES.values(), {}, *reversed(STYLES.values())]
    contents = states(Operated(site), order, pack=pack)
    operated = again(Operated(site))

    assert [point.problems for point in operated.points()] == [()] * len(order)
    assert list(operated.destination().verify(Depth.RECORDS)) == []
    for number, (moment, expected) in enumerate(contents.items()):
        assert staged(operated, moment, tmp_path / str(number)) == expected


@each_style
def test_what_is_new_is_counted_without_the_note_of_the_layout(site, options) -> None:
    site.commit(blobs={"a": b"a", "b": b"b"})
    operated = Operated(site, **options)
    assert re.search(r"blobs: (2 new, \d+ bytes|0 new, .*2 linked)$", operated.backup().summary)
    (site.blobstorage / "notes.txt").write_text("of the sysadmin")
    site.commit(blobs={"c": b"c"})
    assert operated.backup(full=True).summary.endswith(", 1 of them no blobs")


@each_style
def test_only_what_a_kept_restore_point_needs_stays(site, tmp_path, options) -> None:
    contents = {}
    operated = Operated(site, keep=2, **options)
    for number in range(7):
        operated.site.commit({"a": number}, {"a": b"%d" % number})
        full = number % 3 == 0
        contents[operated.backup(full=full).point.moment] = operated.site.contents()

    points = operated.points()
    assert len(points) == 4  # of the full ones 3 and 6
    needed = {point.blobs for point in points}
    place = operated.place().blobstorage
    kept = {each.name for each in holdings.find(place, "blobstorage").values()}
    assert needed <= kept
    assert (
        min(each.stamp for each in holdings.find(place, "blobstorage").values()) >= points[0].stamp
    )
    for number, point in enumerate(points):
        assert staged(operated, point.moment, tmp_path / str(number)) == contents[point.moment]


@each_style
def test_blobs_that_a_pack_puts_aside_meanwhile_are_backed_up(site, tmp_path, options) -> None:
    operated = Operated(site, **options)
    site.commit({"a": 1}, {"a": b"first", "b": b"other"})
    blobs = sorted(site.blobstorage.rglob("*.blob"))
    contents = site.contents()
    aside = site.blobstorage.with_name("blobstorage.old")
    target = aside / blobs[0].relative_to(site.blobstorage)
    target.parent.mkdir(parents=True)
    (aside / ".layout").write_bytes((site.blobstorage / ".layout").read_bytes())
    blobs[0].rename(target)

    assert operated.backup().point.whole

    assert staged(operated, None, tmp_path / "to") == contents


@each_style
def test_blobs_that_a_pack_removes_meanwhile_stay_in_the_chain_or_are_named(
    site, tmp_path, options
) -> None:
    operated = Operated(site, **options)
    site.commit({"a": 1}, {"a": b"first"})
    operated.backup()
    site.commit({"a": 2}, {"a": b"second"})
    contents = site.contents()
    blobs = sorted(site.blobstorage.rglob("*.blob"), key=lambda path: path.name)
    data = blobs[0].read_bytes()
    blobs[0].unlink()

    if options.get("archive_blob") and not options.get("incremental_blobs"):
        with pytest.raises(IntegrityError, match="1 blob of the site is gone"):
            operated.backup()
        assert operated.points()[-1].whole
        blobs[0].write_bytes(data)
        operated.backup()
    else:
        operated.backup()

    assert operated.points()[-1].whole
    assert operated.points()[-1].doubts == ()
    assert staged(operated, None, tmp_path / "to") == contents


@each_style_and_the_usual_one
def test_what_cannot_be_read_is_named_and_all_else_is_backed_up(options) -> None:
    with nobody() as directory:
        site = Site(directory / "site")
        site.commit({"a": 1}, {"a": b"first", "b": b"other"})
        contents = site.contents()
        operated = Operated(site, **options)
        sick, *others = sorted(site.blobstorage.rglob("*.blob"))
        sick.chmod(0)
        (site.blobstorage / "secret").mkdir(0)
        os.mkfifo(site.blobstorage / "fifo")

        for _again in range(3):
            with pytest.raises(
                IntegrityError, match="1 blob was .*2 files or directories"
            ) as caught:
                operated.backup()
            assert sick.stem in str(caught.value)

        [point] = operated.points()
        assert point.restorable
        assert not point.whole
        assert len(holdings.find(operated.place().blobstorage, "blobstorage")) == 1
        assert blobs_restored(operated, directory / "without") == {
            path.name for path in others if path != sick
        }
        told = [problem.what for problem in operated.destination().verify(Depth.RECORDS)]
        assert told == list(point.problems)

        # what is mended is tried again
        sick.chmod(0o400)
        (site.blobstorage / "secret").chmod(0o700)
        (site.blobstorage / "fifo").unlink()
        assert operated.backup().point.whole
        assert staged(operated, None, directory / "with") == contents
        assert list(operated.destination().verify(Depth.RECORDS)) == []
        assert not operated.backup().changed


@each_style_and_the_usual_one
def test_a_new_blob_that_cannot_be_read_is_named_and_all_else_is_added(options) -> None:
    with nobody() as directory:
        site = Site(directory / "site")
        site.commit({"a": 1}, {"a": b"first"})
        operated = Operated(site, **options)
        operated.backup()
        site.commit({"a": 2}, {"a": b"second", "b": b"other"})
        contents = site.contents()
        sick = sorted(site.blobstorage.rglob("*.blob"))[-1]
        sick.chmod(0)

        for _again in range(2):
            with pytest.raises(IntegrityError, match="1 blob was missing"):
                operated.backup()

        point = operated.points()[-1]
        assert point.restorable
        assert len(operated.points()) == 2
        sick.chmod(0o400)
        assert operated.backup().point.whole
        assert staged(operated, None, directory / "with") == contents
        assert list(operated.destination().verify(Depth.RECORDS)) == []


def spoil(path: Path, data: bytes) -> bytes:
    """Let a blob of the site have other bytes; return those that it had."""
    before, time = path.read_bytes(), path.stat().st_mtime
    path.chmod(0o600)
    path.write_bytes(data)
    os.utime(path, (time + 2, time + 2))  # rsync sees whole seconds
    return before


def blobs_of(operated: Operated) -> list[Path]:
    return sorted(operated.site.blobstorage.rglob("*.blob"), key=lambda path: path.name)


LINKED = ("linked-first", "rsync-numbered")
"""Styles whose first backup shares its bytes with the site, and what happens to them."""

changed_styles = parametrized(
    {"chain": {}, **{name: more for name, more in STYLES.items() if name not in LINKED}}
)


@pytest.mark.parametrize("data", [b"", b"FIRST", b"longer than it was"])
@changed_styles
def test_a_blob_that_is_not_as_it_was_backed_up_is_named_and_the_first_copy_stays(
    site, tmp_path, options, data
) -> None:
    operated = Operated(site, **{"keep": 1, **options})
    site.commit({"a": 1}, {"a": b"first", "b": b"other"})
    operated.backup()
    contents = site.contents()
    sick, _other = blobs_of(operated)
    first = spoil(sick, data)

    for number in range(3):
        with pytest.raises(IntegrityError, match="1 blob of the site.*not as it was") as caught:
            operated.backup(full=number < 2)
        assert sick.stem in str(caught.value)
        assert "--accept-changed-blobs" in caught.value.hint

    [point] = operated.points()
    assert point.whole
    assert sick.stem in point.doubts[0]
    assert staged(operated, None, tmp_path / "kept") == contents
    assert list(operated.destination().verify(Depth.RECORDS)) == []
    site.commit({"a": 2})
    with pytest.raises(IntegrityError, match="1 blob of the site.*not as it was"):
        operated.backup()

    # put back, it is well again
    sick.write_bytes(first)
    assert operated.backup().point.doubts == ()
    assert not operated.backup().changed

    # the user may want the new one
    spoil(sick, data)
    outcome = operated.backup(accept=True)
    assert outcome.point.doubts == ()
    assert staged(operated, None, tmp_path / "accepted") == site.contents()
    assert operated.backup(full=True).point.doubts == ()


@changed_styles
def test_a_blob_that_the_site_has_lost_is_taken_over_from_an_earlier_chain(
    site, tmp_path, options
) -> None:
    operated = Operated(site, **{"keep": 1, **options})
    site.commit({"a": 1}, {"a": b"first", "b": b"other"})
    operated.backup()
    contents = site.contents()
    gone, _other = blobs_of(operated)
    data = gone.read_bytes()
    gone.unlink()

    for number in range(3):
        with pytest.raises(IntegrityError, match="1 blob of the site is gone"):
            operated.backup(full=number < 2)

    [point] = operated.points()
    assert point.whole
    assert staged(operated, None, tmp_path / "kept") == contents
    assert list(operated.destination().verify(Depth.RECORDS)) == []
    gone.write_bytes(data)
    assert operated.backup().point.doubts == ()


@changed_styles
def test_a_blob_whose_time_alone_has_changed_is_no_other_one(site, options) -> None:
    operated = Operated(site, **options)
    site.commit({"a": 1}, {"a": b"first", "b": b"other"})
    operated.backup()
    for blob in blobs_of(operated):
        os.utime(blob, (0, 0))
    assert operated.backup(full=True).point.doubts == ()


@changed_styles
def test_a_blob_that_is_damaged_in_the_backup_does_not_take_the_place_of_a_good_one(
    site, tmp_path, options
) -> None:
    operated = Operated(site, **options)
    site.commit({"a": 1}, {"a": b"first" * 100, "b": b"other"})
    operated.backup()
    contents = site.contents()
    for stored in operated.place().blobstorage.rglob("*"):
        if stored.is_file() and not stored.is_symlink() and b"first" in stored.read_bytes():
            stored.chmod(0o600)
            stored.write_bytes(stored.read_bytes().replace(b"firstfirst", b"wrongwrong"))
    for blob in blobs_of(operated):
        os.utime(blob, (0, 0))  # so that size and time do not make them the same

    operated.backup(full=True)

    assert staged(operated, None, tmp_path / "to") == contents


@pytest.mark.parametrize("marker", [None, "", "\0" * 5, "meadow"])
@each_style_and_the_usual_one
def test_without_its_marker_a_blobstorage_is_told_and_restored_with_it(
    site, tmp_path, options, marker
) -> None:
    site.commit({"a": 1}, {"a": b"first", "b": b"other"})
    contents = site.contents()
    path = site.blobstorage / ".layout"
    path.unlink()
    if marker is not None:
        path.write_text(marker)
    operated = Operated(site, **options)

    for number in range(3):
        with pytest.raises(IntegrityError, match=r"/\.layout .*write the word bushy"):
            operated.backup(full=number == 1)

    assert staged(operated, None, tmp_path / "without") == contents
    assert list(operated.destination().verify(Depth.RECORDS)) == []

    path.write_text("bushy")
    operated.backup()
    assert not operated.backup().changed
    site.commit({"a": 2}, {"a": b"second"})
    operated.backup()
    assert staged(operated, None, tmp_path / "with") == site.contents()


def test_verify_says_what_zodb_would_make_of_a_tree_without_its_marker(site) -> None:
    """As older releases have copied it from a site that had lost it."""
    site.commit({"a": 1}, {"a": b"first"})
    operated = Operated(site)
    operated.backup()
    [holding] = holdings.find(operated.place().blobstorage, "blobstorage").values()
    for name in ("about", "checksums", "blobstorage/.layout"):
        (holding.blob_set.path / name).unlink()

    [problem] = operated.destination().verify(Depth.RECORDS)

    assert problem.harmless
    assert "ZODB takes the layout for lawn" in problem.what
    assert problem.where == str(holding.blob_set.root / ".layout")


@each_style_and_the_usual_one
def test_blobs_where_zodb_does_not_look_come_where_it_does(site, tmp_path, options) -> None:
    """As after a start without the marker: ZODB has written another one, and new blobs there."""
    site.commit({"a": 1}, {"a": b"first", "b": b"other"})
    contents = site.contents()
    (site.blobstorage / ".layout").write_text("lawn")
    operated = Operated(site, **options)

    with pytest.raises(IntegrityError, match="this says lawn"):
        operated.backup()
    assert staged(operated, None, tmp_path / "first") == contents

    site.commit({"a": 2}, {"c": b"third"})
    third = max(site.blobstorage.glob("*/*.blob"), key=lambda path: path.name)
    with pytest.raises(IntegrityError, match="this says lawn"):
        operated.backup()
    restored = staged(operated, None, tmp_path / "second")
    assert set(restored["blobs"]) == {"a", "b", "c"}
    assert third.read_bytes() == b"third"


def blobs_restored(operated: Operated, directory: Path) -> set[str]:
    """Return the names of the blobs that the newest restore point has."""
    directory.mkdir()
    destination = operated.destination()
    targets = Targets(
        filestorage=directory / "Data.fs",
        index=directory / "Data.fs.index",
        blobstorage=directory / "blobstorage",
    )
    stage_choice(destination, choose(destination.restore_points(), None), targets)
    return {path.name for path in targets.blobstorage.rglob("*.blob")}


TREES = {name: options for name, options in STYLES.items() if "archive_blob" not in options}


@pytest.mark.parametrize("name", ["chain", *TREES])
def test_what_zodb_does_not_know_is_backed_up_whenever_it_changes(site, tmp_path, name) -> None:
    if name.startswith("rsync") and not shutil.which("rsync"):
        pytest.skip("rsync is not installed")
    operated = Operated(site, **TREES.get(name, {}))
    site.commit({"a": 1}, {"a": b"first"})
    foreign = site.blobstorage / "notes" / "a.txt"
    foreign.parent.mkdir()
    found = []
    for number in range(4):
        foreign.write_text(f"{number}")
        if number == 2:
            site.commit({"a": 2}, {"a": b"second"})
        outcome = operated.backup()
        assert outcome.changed
        found.append(restored_file(operated, tmp_path / str(number)))
    assert found == ["0", "1", "2", "3"]
    assert not operated.backup().changed
    assert list(operated.destination().verify(Depth.CHECKSUMS)) == []
    assert staged(operated, None, tmp_path / "to") == site.contents()


def restored_file(operated: Operated, directory: Path) -> str:
    staged(operated, None, directory)
    return (directory / "blobstorage" / "notes" / "a.txt").read_text()


def test_blobs_that_somebody_removed_from_the_backups_are_backed_up_again(site, tmp_path) -> None:
    site.commit({"a": 1}, {"a": b"first"})
    operated = Operated(site)
    operated.backup()
    for path in operated.place().blobstorage.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
    assert not operated.points()[0].restorable

    operated.backup()

    assert operated.points()[0].whole
    assert staged(operated, None, tmp_path / "to") == site.contents()


def test_with_numbers_0_is_the_newest_and_there_is_no_latest(site) -> None:
    operated = Operated(site, keep=0)
    site.commit({"a": 1}, {"a": b"first"})
    operated.backup()
    assert latest(operated)
    operated = again(operated, keep=0, blob_timestamps=False)
    for number in range(3):
        site.commit({"a": number}, {"b": b"%d" % number})
        operated.backup()

    place = operated.place().blobstorage
    moments = [NumberedSet(place / f"blobstorage.{at}", "blobstorage").stamp for at in range(3)]
    assert moments == [point.stamp for point in reversed(operated.points())][:3]
    assert latest(operated) is None


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, "blobstorage.{0}"),
        ({"blob_snapshots": "each"}, "blobstorage.{1}"),
        ({"archive_blob": True}, "blobstorage.{1}.tar"),
        ({"archive_blob": True, "compress_blob": True}, "blobstorage.{1}.tar.gz"),
        ({"archive_blob": True, "incremental_blobs": True}, None),
        ({"archive_blob": True, "blob_timestamps": False}, None),
    ],
)
def test_latest_leads_to_the_newest(site, options, expected) -> None:
    operated = Operated(site, **options)
    stamps = []
    for number in range(2):
        site.commit({"a": number}, {"a": b"%d" % number})
        stamps.append(operated.backup().point.stamp)
    assert latest(operated) == (expected and expected.format(*stamps))


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"blob_timestamps": False},
        {"archive_blob": True},
        {"archive_blob": True, "blob_timestamps": False},
        {"archive_blob": True, "incremental_blobs": True},
    ],
)
def test_a_directory_with_the_name_of_the_link_stays_with_all_that_is_in_it(site, options) -> None:
    """A copy that followed links has made one of it."""
    operated = Operated(site, **options)
    site.commit({"a": 1}, {"a": b"first"})
    operated.backup()
    place = operated.place().blobstorage / "latest"
    place.unlink(missing_ok=True)
    place.mkdir()
    (place / "file").write_text("mine")
    for full in (False, True):
        site.commit({"a": 2 + full}, {"a": b"second"})
        operated.backup(full=full)
    assert (place / "file").read_text() == "mine"


def latest(operated: Operated) -> str | None:
    link = operated.place().blobstorage / "latest"
    return os.readlink(link) if link.is_symlink() else None


@pytest.mark.parametrize(
    ("ends", "said"),
    [
        ("exit 3", "a directory is missing or cannot be read"),
        ("exit 11", "is the disk full?"),
        ("exit 12", "is there enough memory"),
        ("exit 20", "run the command again"),
        ("exit 30", "take --timeout out of rsync_options"),
        ("exit 99", "what it said stands above"),
        ("kill -KILL $$", "for want of memory"),
    ],
)
def test_an_rsync_that_fails_is_told_with_what_can_be_done(
    site, tmp_path, monkeypatch, ends, said
) -> None:
    (tmp_path / "rsync").write_text(f"#!/bin/sh\n{ends}\n")
    (tmp_path / "rsync").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    site.commit({"a": 1}, {"a": b"first"})
    with pytest.raises(CommandFailed, match="copying the blobs with rsync") as caught:
        Operated(site, use_rsync=True).backup()
    assert said in caught.value.hint


@pytest.mark.needs("rsync")
def test_a_failing_rsync_is_exit_7_and_nothing_of_it_is_left(site, tmp_path, capfd) -> None:
    operated = Operated(site, use_rsync=True, keep=1)
    site.commit({"a": 1}, {"a": b"first"})
    operated.backup()
    old = site.contents()
    names = os.listdir(operated.place().blobstorage)
    site.commit({"a": 2}, {"a": b"second"})

    broken = again(operated, use_rsync=True, keep=1, rsync_options=("--no-such-option",))
    with pytest.raises(CommandFailed) as caught:
        broken.backup(full=True)

    assert caught.value.exit_code == 7
    assert "mend rsync_options" in caught.value.hint
    assert "no-such-option" in capfd.readouterr().err
    assert sorted(os.listdir(operated.place().blobstorage)) == sorted(names)
    assert [point.restorable for point in operated.points()] == [True, False]
    moment = operated.points()[0].moment
    assert staged(operated, moment, tmp_path / "old") == old
    operated.now = broken.now
    operated.backup()
    assert staged(operated, None, tmp_path / "new") == site.contents()


@each_style
def test_a_destination_that_lies_in_the_source_is_refused(site, options) -> None:
    site.commit({"a": 1}, {"a": b"first"})
    before = content(site.blobstorage)
    operated = Operated(site, **options)
    [place] = operated.config.destinations[STANDARD]
    inside = replace(place, blobstorage=site.blobstorage / "backups")
    operated.config = replace(operated.config, destinations={STANDARD: (inside,)})

    with pytest.raises(BackupError, match="in the blobstorage that"):
        operated.backup()

    found = {
        path: data for path, data in content(site.blobstorage).items() if "backups" not in path
    }
    assert found == before


def test_a_numbered_archive_that_cannot_be_read_is_named_where_its_blobs_are_missed(site) -> None:
    """What it was made for stands in it, and its name does not tell."""
    operated = Operated(site, **STYLES["numbered-archives"])
    site.commit({"a": 1}, {"a": b"first"})
    operated.backup()
    archive = operated.place().blobstorage / "blobstorage.0.tar"
    archive.write_bytes(bytes(archive.stat().st_size))

    with pytest.raises(NoRestorePoint) as caught:
        operated.restore()

    assert "they may be in blobstorage.0.tar, damaged" in caught.value.hint


@pytest.mark.parametrize("change", ["content", "link", "new", "gone"])
@pytest.mark.parametrize("style", ["archives", "compressed", "incremental", "numbered-archives"])
def test_archives_are_made_anew_when_only_a_foreign_file_has_changed(
    site, tmp_path, style, change
) -> None:
    """The filestorage is unchanged; blobs never change, but what else lies there may."""
    site.commit({"a": 1}, {"a": b"first"})
    note, link = site.blobstorage / "note.txt", site.blobstorage / "link"
    note.write_text("before")
    link.symlink_to("before")
    operated = Operated(site, **STYLES[style])
    assert operated.backup().changed
    assert not operated.backup().changed
    if change == "content":
        times = note.stat().st_atime_ns, note.stat().st_mtime_ns + 1
        note.write_text("behind")
        os.utime(note, ns=times)
    elif change == "link":
        link.unlink()
        link.symlink_to("after")
    elif change == "new":
        note.with_name("other.txt").touch()
    else:
        note.unlink()
    now = content(site.blobstorage)

    assert operated.backup().changed

    assert not operated.backup().changed
    assert not [*operated.destination().verify(Depth.RECORDS)]
    shutil.rmtree(site.blobstorage)
    operated.restore()
    assert content(site.blobstorage) == now


some_styles = pytest.mark.parametrize(
    "options",
    [{}, *(STYLES[name] for name in ("each", "numbered", "archives", "incremental"))],
    ids=["chain", "each", "numbered", "archives", "incremental"],
)


@some_styles
def test_more_blobs_than_can_be_named_are_rescued_at_once(site, monkeypatch, options) -> None:
    monkeypatch.setattr(copied, "NAMED", 1)
    site.commit({"a": 1}, {name: name.encode() for name in "abc"})
    site.blobstorage.rename(site.blobstorage.with_name("blobstorage.old"))
    site.blobstorage.mkdir()
    (site.blobstorage / ".layout").write_text("bushy")
    site.commit({"a": 2}, {"d": b"d"})

    outcome = Operated(site, **options).backup()
    assert (outcome.point.whole, outcome.point.doubts) == (True, ())


@some_styles
def test_what_was_backed_up_is_not_again_while_many_are_missing(site, monkeypatch, options) -> None:
    monkeypatch.setattr(copied, "NAMED", 1)
    site.commit({"a": 1}, {name: name.encode() * 9999 for name in "abcd"})
    operated = Operated(site, **options)
    for path in sorted(site.blobstorage.rglob("*.blob"))[:3]:
        path.unlink()
    with pytest.raises(IntegrityError, match="3 blobs"):
        operated.backup()
    before = content(operated.place().blobstorage)

    with pytest.raises(IntegrityError, match="3 blobs"):
        operated.backup()

    assert content(operated.place().blobstorage) == before


@some_styles
def test_more_blobs_than_can_be_named_are_not_forgotten(site, monkeypatch, options) -> None:
    monkeypatch.setattr(copied, "NAMED", 1)
    site.commit({"a": 1}, {name: name.encode() for name in "abc"})
    operated = Operated(site, **options)
    aside = {path: path.read_bytes() for path in site.blobstorage.rglob("*.blob")}
    for path in aside:
        path.unlink()
    for left, path in zip((3, 2, 1), sorted(aside), strict=True):
        with pytest.raises(IntegrityError, match=f"{left} blob"):
            operated.backup()
        path.write_bytes(aside[path])

    operated.backup()

    assert operated.points()[-1].whole


@pytest.mark.parametrize("compressed", [False, True])
def test_a_file_that_is_no_blob_does_not_make_each_incremental_archive_a_full_one(
    site, tmp_path, compressed
) -> None:
    options = {"archive_blob": True, "incremental_blobs": True, "compress_blob": compressed}
    operated = Operated(site, **options)
    (site.blobstorage / "Thumbs.db").write_bytes(b"of a file manager")
    for number in range(4):
        site.commit({"a": number}, {f"b{number}": b"blob"})
        if number == 3:
            (site.blobstorage / "Thumbs.db").write_bytes(b"another one")
        operated.backup()

    full, second, third, changed = [point.blobs for point in operated.points()]
    assert [".delta." in name for name in (full, second, third, changed)] == [
        False,
        True,
        True,
        False,
    ]
    contents = site.contents()
    site.lose()
    operated.restore()
    assert site.contents() == contents
    assert (site.blobstorage / "Thumbs.db").read_bytes() == b"another one"
    operated.restore(operated.points()[2].moment)
    assert (site.blobstorage / "Thumbs.db").read_bytes() == b"of a file manager"
    assert list(operated.destination().verify(Depth.RECORDS)) == []
