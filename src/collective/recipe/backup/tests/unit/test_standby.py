"""A standby follows the backups, writes only what is new, and is promoted once."""

from __future__ import annotations

import os
import stat
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
import ZODB.FileStorage

from collective.recipe.backup import locking
from collective.recipe.backup.cli import main
from collective.recipe.backup.config import STANDARD
from collective.recipe.backup.errors import ConfigurationError, IntegrityError, InUse, UsageError
from collective.recipe.backup.filestorage.transactionlog import TransactionLog
from collective.recipe.backup.findings import DoctorSeverity
from collective.recipe.backup.model import Source
from collective.recipe.backup.operations import standby as room
from collective.recipe.backup.operations.backup import back_up
from collective.recipe.backup.operations.carryingout import carry_out
from collective.recipe.backup.operations.doctor import examine
from collective.recipe.backup.operations.prune import sweep
from collective.recipe.backup.operations.repositorycare import collect_unneeded
from collective.recipe.backup.operations.restore import restore
from collective.recipe.backup.operations.restoreorder import RestoreOrder
from collective.recipe.backup.operations.run import Run
from collective.recipe.backup.operations.standby import promote, standby
from collective.recipe.backup.restoring.standbymark import left_so, mark_path
from collective.recipe.backup.stores.local import LocalStore
from collective.recipe.backup.tests.faults.harness import WAITING, Hasty
from collective.recipe.backup.tests.runs import NOON, Operated
from collective.recipe.backup.tests.samples import Site, contents_of
from collective.recipe.backup.tests.unit.test_following import Script
from collective.recipe.backup.tests.unit.test_following_places import Followed
from collective.recipe.backup.times import show_tid


class Standing:
    """A site with backups in one place, and a copy that follows them."""

    def __init__(self, site: Site, tmp_path: Path, place: str) -> None:
        self.site = site
        self.followed = Followed(site, tmp_path)
        self.to = tmp_path / "copy"
        self.filestorage = self.to / "Data.fs"
        self.blobstorage = self.to / "blobstorage"
        self.now = NOON
        self._place = place

    def run(self) -> Run:
        run = self.followed.operated.run("standby")
        return replace(run, name=self._place, now=self.now)

    def store(self) -> None:
        """Let the source be backed up, an hour after the last time."""
        self.now += timedelta(hours=1)
        back_up(replace(self.run(), verb="backup"))

    def stand(self, *actions, run: Run | None = None) -> list[str]:
        """Stand by through *actions*; return what was told."""
        told: list[str] = []
        standby(run or self.run(), self.to, Script(*actions), tell=told.append)
        return told

    def contents(self):
        return contents_of(self.filestorage, self.blobstorage)


class Waiting(Hasty):
    """Files that count what a real disk would be waited for."""

    def __init__(self) -> None:
        super().__init__()
        self.waits = Counter[str]()

    def _change(self, operation, path, function, *args, **kwargs):
        if operation in WAITING:
            is_directory = stat.S_ISDIR(os.fstat(args[0]).st_mode)
            kind = "a file system" if operation == "syncfs" else "a file"
            self.waits["a directory" if is_directory and operation == "fsync" else kind] += 1
        return super()._change(operation, path, function, *args, **kwargs)


@pytest.fixture(params=["directory", "far"])
def standing(site: Site, tmp_path: Path, request: pytest.FixtureRequest) -> Standing:
    site.commit({"a": 1}, {"b": b"first", "c": b"goes"})
    standing = Standing(site, tmp_path, request.param)
    standing.store()
    return standing


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return the sizes of all that is read of a filestorage to be compared."""
    sizes: list[int] = []

    class Counted(TransactionLog):
        def read(self, offset: int, size: int) -> bytes:
            sizes.append(size)
            return super().read(offset, size)

    monkeypatch.setattr("collective.recipe.backup.restoring.stagedlog.TransactionLog", Counted)
    return sizes


def test_the_copy_becomes_each_newer_state_in_place(standing: Standing) -> None:
    site, states, inodes = standing.site, [], []

    def grow() -> None:
        states.append((standing.contents(), site.contents()))
        inodes.append(standing.filestorage.stat().st_ino)
        site.commit({"a": len(states)}, {f"new{len(states)}": b"%d" % len(states)})
        standing.store()

    told = standing.stand(grow, lambda: None, grow, lambda: None)

    states.append((standing.contents(), site.contents()))
    inodes.append(standing.filestorage.stat().st_ino)
    assert all(copy == source for copy, source in states)
    assert len(states) == 3
    assert len(set(inodes)) == 1, "only what is new is written"
    assert [words.split()[0] for words in told] == ["standing", *3 * ["restore"]]


def test_what_is_there_is_read_once_and_then_known(standing: Standing, reads: list[int]) -> None:
    site = standing.site
    site.commit({"large": os.urandom(100_000).hex()})
    standing.store()
    counts = []

    def grow() -> None:
        counts.append(sum(reads))
        reads.clear()
        site.commit({"a": len(counts)})
        standing.store()

    standing.stand(*8 * [grow])

    assert standing.contents() == site.contents()
    assert counts[1] > 100_000, "what was restored first is read once"
    # each backup to a repository puts the last pieces together: these are read again
    assert len(counts) == 8
    if standing.run().name == "directory":
        assert sum(counts[2:]) < 20_000


def test_a_round_waits_for_the_disk_some_times_and_for_nothing_else_on_it(
    standing: Standing,
) -> None:
    site, files = standing.site, Waiting()

    def grow() -> None:
        files.waits.clear()
        site.commit({"a": 2}, {f"new{number}": b"%d" % number for number in range(5)})
        standing.store()

    standing.stand(lambda: None, grow, run=replace(standing.run(), files=files))

    assert standing.contents() == site.contents()
    # blobs; index; what comes and what it was, of both; notes: letting go, swapping, done, left
    assert files.waits["a file"] <= 5 + 1 + 4 + 4
    assert files.waits["a file system"] == 0


def test_of_the_store_a_round_reads_what_is_new_and_after_a_pack_no_blob(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes, rounds = [], []

    get = LocalStore.get

    def counted(store: LocalStore, name: str, start: int = 0, size: int | None = None) -> bytes:
        data = get(store, name, start, size)
        sizes.append(len(data))
        return data

    monkeypatch.setattr(LocalStore, "get", counted)
    site.commit({"a": 1}, {f"old{number}": os.urandom(50_000) for number in range(8)})
    standing = Standing(site, tmp_path, "far")
    standing.store()

    def before(change: Callable[[], object]) -> Callable[[], None]:
        def action() -> None:
            rounds.append(sum(sizes))
            change()
            standing.store()
            sizes.clear()  # what the backup has read

        return action

    def pack() -> None:
        with site.opened() as db, db.transaction() as connection:
            del connection.root()["blobs"]["old0"]
        site.pack()

    grow = before(lambda: site.commit({"a": 2}, {"new": os.urandom(50_000)}))
    standing.stand(grow, before(pack))
    rounds.append(sum(sizes))

    first, grown, packed = rounds
    assert standing.contents() == site.contents()
    assert first > 400_000
    assert 50_000 < grown < 100_000
    assert packed < 40_000, "the filestorage and what lists it"


def test_after_a_pack_what_the_copy_has_is_not_read_from_the_store(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither after the first, nor after the next ones, which drop more."""
    sizes, rounds = [], []
    get = LocalStore.get

    def counted(store: LocalStore, name: str, start: int = 0, size: int | None = None) -> bytes:
        data = get(store, name, start, size)
        sizes.append(len(data))
        return data

    monkeypatch.setattr(LocalStore, "get", counted)
    monkeypatch.setattr("collective.recipe.backup.restoring.stagedlog.WORTH_A_LOOK", 1)
    with site.opened():
        for number in range(20):
            site.commit({f"old{number}": os.urandom(30_000).hex(), "again": "x" * 9_000})
    standing = Standing(site, tmp_path, "far")
    standing.store()

    def change(number: int) -> Callable[[], None]:
        def action() -> None:
            rounds.append(sum(sizes))
            with site.opened() as db, db.transaction() as connection:
                del connection.root()["values"][f"old{number}"]
            site.commit({"again": f"{number}"})
            site.pack()
            standing.store()
            sizes.clear()  # what the backup has read

        return action

    standing.stand(*map(change, range(3)))
    rounds.append(sum(sizes))

    first, *packed = rounds
    assert standing.contents() == site.contents()
    assert first > 600_000
    assert len(packed) == 3
    assert max(packed) < 60_000


def test_a_pack_at_the_source_removes_what_it_removed(standing: Standing) -> None:
    site = standing.site

    def pack() -> None:
        with site.opened() as db, db.transaction() as connection:
            del connection.root()["blobs"]["c"]
        site.commit({"a": 2}, {"b": b"second"})
        site.pack()
        standing.store()

    standing.stand(pack)

    assert standing.contents() == site.contents()
    blobs = [len(list(each.rglob("*.blob"))) for each in (site.blobstorage, standing.blobstorage)]
    assert blobs == [1, 1]


def test_a_reader_has_the_copy_open_all_the_time(standing: Standing) -> None:
    before = []

    def grow() -> None:
        storage = ZODB.FileStorage.FileStorage(str(standing.filestorage), read_only=True)
        before.append((storage, storage.lastTransaction()))
        standing.site.commit({"a": 2})
        standing.store()

    standing.stand(grow)

    [(storage, last)] = before
    try:
        assert storage.lastTransaction() == last
        assert storage.load(b"\0" * 8)[0]
    finally:
        storage.close()
    assert standing.contents() == standing.site.contents()


def test_a_promoted_standby_names_its_last_transaction_and_stands_by_no_more(
    standing: Standing,
) -> None:
    last = standing.site.commit({"a": 2})
    standing.store()
    standing.stand()

    assert promote(standing.run(), standing.to) == {"1": last}
    assert promote(standing.run(), standing.to) == {"1": last}, "it may be asked for again"

    with closing(ZODB.FileStorage.FileStorage(str(standing.filestorage))) as storage:
        assert storage.lastTransaction() == last
    standing.store()
    before = standing.filestorage.read_bytes()
    with pytest.raises(UsageError, match="was promoted at 2026-03-01"):
        standing.stand()
    assert standing.filestorage.read_bytes() == before


def test_a_standby_is_backed_up_only_once_it_was_promoted(standing: Standing) -> None:
    standing.stand()
    copied = Operated(Site(standing.to / "empty"))
    source = replace(
        copied.config.sources[0],
        filestorage=standing.filestorage,
        blobstorage=standing.blobstorage,
    )
    run = copied.run("backup")
    run = replace(run, config=replace(run.config, sources=(source,)))
    with pytest.raises(ConfigurationError, match="this is a standby of"):
        back_up(run)
    # by any name
    link = standing.to / "link"
    link.symlink_to(standing.filestorage.parent)
    named = replace(source, filestorage=link / standing.filestorage.name)
    with pytest.raises(ConfigurationError, match="this is a standby of"):
        back_up(replace(run, config=replace(run.config, sources=(named,))))
    link.unlink()
    assert copied.points() == []
    found = [each for each in examine(run) if "this is a standby of" in each.what]
    assert [each.severity for each in found] == [DoctorSeverity.PROBLEM]

    last = promote(standing.run(), standing.to)["1"]

    [outcome] = back_up(run)
    assert outcome.point.tid == last


def test_a_standby_is_restored_over_only_once_it_was_promoted(standing: Standing) -> None:
    standing.stand()
    before = standing.contents()
    run = replace(standing.run(), verb="restore")
    with pytest.raises(UsageError, match="this is a standby of"):
        restore(run, RestoreOrder(to=standing.to))
    assert standing.contents() == before
    promote(standing.run(), standing.to)
    assert restore(run, RestoreOrder(to=standing.to))


def test_a_running_standby_ends_once_it_was_promoted(standing: Standing) -> None:
    with pytest.raises(UsageError, match="was promoted"):
        standing.stand(lambda: promote(standing.run(), standing.to))


def test_a_copy_that_was_written_to_is_left_alone(standing: Standing) -> None:
    standing.stand()
    with closing(ZODB.DB(str(standing.filestorage))) as db, db.transaction() as connection:
        connection.root()["written"] = True
    before = standing.filestorage.read_bytes()

    for act in (standing.stand, lambda: promote(standing.run(), standing.to)):
        with pytest.raises(IntegrityError, match="was written to since its last round") as error:
            act()
        assert f"remove {mark_path(standing.filestorage)};" in error.value.hint

    assert standing.filestorage.read_bytes() == before


@pytest.mark.parametrize("what", ["filestorage", "blobs"])
def test_what_no_standby_has_put_there_is_left_alone(standing: Standing, what: str) -> None:
    place = standing.filestorage if what == "filestorage" else standing.blobstorage / "a blob"
    place.parent.mkdir(parents=True)
    place.write_bytes(b"of another site")

    with pytest.raises(UsageError, match="no standby has put here"):
        standing.stand()

    assert place.read_bytes() == b"of another site"


def test_a_standby_never_goes_back_when_newer_restore_points_are_gone(
    site: Site, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    site.commit({"a": 1}, {"b": b"first"})
    standing = Standing(site, tmp_path, "far")
    standing.store()
    last = standing.site.commit({"a": 2}, {"late": b"blob"})
    standing.store()
    standing.stand()
    before = standing.contents()
    with standing.run().opened() as [*_others, destination]:
        points = destination.restore_points()
        destination.remove(points[-1:])
        assert len(destination.restore_points()) == len(points) - 1

    standing.stand(lambda: None)

    assert standing.contents() == before
    assert "newer ones are gone" in caplog.text
    assert promote(standing.run(), standing.to) == {"1": last}


@pytest.mark.parametrize("what", ["filestorage", "blobstorage", "all"])
def test_a_standby_that_lacks_a_part_is_not_promoted_nor_made_anew(
    standing: Standing, what: str
) -> None:
    standing.stand()
    for name in ("filestorage", "blobstorage") if what == "all" else (what,):
        path = getattr(standing, name)
        path.rename(standing.to / f"unmounted {name}")

    with pytest.raises(IntegrityError, match="a part of this standby is gone"):
        promote(standing.run(), standing.to)
    with pytest.raises(IntegrityError, match="a part of this standby is gone"):
        standing.stand()
    assert not (standing.to / "Data.fs").exists() or what == "blobstorage"


def test_what_lies_where_the_mark_names_nothing_is_none_of_the_standby(tmp_path: Path) -> None:
    sources = [
        Source(
            name=name, filestorage=tmp_path / f"{name}.fs", blobstorage=tmp_path / f"{name} blobs"
        )
        for name in ("catalog", "1")
    ]
    sources[-1].filestorage.write_bytes(b"ours")
    mark = left_so(sources, "a site")
    assert mark.has_all_of(sources)
    for foreign in (tmp_path / "catalog.fs", tmp_path / "catalog blobs" / "one"):
        foreign.parent.mkdir(exist_ok=True)
        foreign.write_bytes(b"of another site")
        assert not mark.has_all_of(sources)
        foreign.unlink()
        assert mark.has_all_of(sources)


def test_the_standby_of_another_site_is_left_alone(standing: Standing, tmp_path: Path) -> None:
    standing.stand()
    before = standing.contents()
    run = standing.run()
    options = replace(run.config.options, site_name="another")
    other = replace(run, config=replace(run.config, options=options))

    with pytest.raises(UsageError, match="this is a standby of .* and not of another in"):
        standing.stand(run=other)

    assert standing.contents() == before


def test_a_standby_that_died_before_its_first_round_ended_is_finished_by_the_promotion(
    standing: Standing, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(
            room, "mark_as_left", lambda *_arguments: (_ for _ in ()).throw(OSError("dies"))
        )
        with pytest.raises(OSError, match="dies"):
            standing.stand()

    assert promote(standing.run(), standing.to)["1"] is not None
    assert standing.contents() == standing.site.contents()


def test_where_nothing_was_restored_yet_nothing_is_promoted(site: Site, tmp_path: Path) -> None:
    standing = Standing(site, tmp_path, "directory")
    standing.stand()
    with pytest.raises(UsageError, match="there is no standby here"):
        promote(standing.run(), standing.to)


def test_a_site_that_was_restored_in_its_place_is_no_standby(standing: Standing) -> None:
    assert restore(standing.run(), RestoreOrder())
    before = standing.site.filestorage.stat()
    with pytest.raises(UsageError, match="no standby has put here"):
        standby(standing.run(), None, Script(), tell=lambda _words: None)
    standing.to = standing.site.filestorage.parent
    with pytest.raises(UsageError):
        standing.stand()
    assert standing.site.filestorage.stat() == before


def test_what_a_restore_has_left_can_become_a_standby(standing: Standing) -> None:
    assert restore(standing.run(), RestoreOrder(to=standing.to))
    inode = standing.filestorage.stat().st_ino
    standing.site.commit({"a": 2})
    standing.store()

    standing.stand()

    assert standing.filestorage.stat().st_ino == inode
    assert standing.contents() == standing.site.contents()


def test_a_copy_that_a_server_has_open_is_waited_for(
    standing: Standing, caplog: pytest.LogCaptureFixture
) -> None:
    open_ones = [locking.closed_filestorage(standing.filestorage)]

    def begin() -> None:
        open_ones[0].__enter__()
        standing.site.commit({"a": 2})
        standing.store()

    standing.stand(begin, lambda: None, lambda: open_ones[0].__exit__(None, None, None))

    assert standing.contents() == standing.site.contents()
    waits = [record for record in caplog.records if record.getMessage().startswith("waiting")]
    assert len(waits) == 1, "it is told once"


def test_the_backups_are_waited_for(site: Site, tmp_path: Path) -> None:
    standing = Standing(site, tmp_path, "directory")
    assert len(standing.stand(standing.store)) == 2
    assert standing.contents() == site.contents()


def test_a_place_that_is_not_there_is_told_with_what_to_do(
    site: Site, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    standing = Standing(site, tmp_path, "far")
    standing.followed.go_away()

    told = standing.stand(lambda: None, lambda: None)

    assert told == ["standing by"]
    waits, hints = (
        [each for each in caplog.messages if each.startswith(word)] for word in ("waiting", "hint")
    )
    assert len(waits) == len(hints) == 1, "they are told once"
    assert "the directory of the repository is not there" in waits[0]
    assert "is the disk mounted" in hints[0]


@pytest.mark.parametrize("times", [1, 3])
def test_what_is_removed_at_the_source_while_it_is_read_is_not_waited_for(
    standing: Standing, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, times: int
) -> None:
    site, left, source = standing.site, [times], tmp_path / "another machine"
    source.mkdir()

    def carry_out_late(*arguments) -> None:
        """Read what was chosen only after that was pruned and collected."""
        if left[0]:
            left[0] -= 1
            site.commit({"a": f"after {left[0]}"}, {f"late {left[0]}": b"stays"})
            site.pack()
            standing.now += timedelta(hours=1)
            run = replace(standing.run(), config_path=source / "buildout.cfg", verb="backup")
            back_up(run)
            with run.opened() as [destination]:
                destination.remove(destination.restore_points()[:-1])
                sweep(destination)
            if run.name == "far":
                collect_unneeded(run, run.configured, certain=True)
        carry_out(*arguments)

    monkeypatch.setattr(room, "carry_out", carry_out_late)

    standing.stand(*(times + 2) * [lambda: None])

    assert left == [0]
    assert standing.contents() == site.contents()


def test_two_standbys_do_not_keep_one_copy(standing: Standing) -> None:
    def another() -> None:
        with pytest.raises(InUse, match=f"kept up to date already.*process {os.getpid()}") as error:
            standing.stand()
        assert error.value.exit_code == 5
        standing.site.commit({"a": 2})
        standing.store()

    assert len(standing.stand(another)) == 3, "the first one is not disturbed"
    assert standing.contents() == standing.site.contents()
    assert standing.stand(), "it is gone with its process"


def test_of_two_standbys_that_begin_at_once_one_ends(site: Site, tmp_path: Path) -> None:
    standing = Standing(site, tmp_path, "directory")
    site.commit({"a": 1})

    class Second(Script):
        def wait(self) -> bool:
            standing.store()
            # now the first one begins, and stays
            standby(standing.run(), standing.to, Script(), tell=lambda _what: None)
            kept.enter_context(locking.one_standby(standing.filestorage))
            return True

    with ExitStack() as kept, pytest.raises(InUse, match="kept up to date already"):
        standby(standing.run(), standing.to, Second(), tell=lambda _what: None)
    assert standing.contents() == site.contents()


def test_a_promotion_does_not_wait_for_ever(
    standing: Standing, monkeypatch: pytest.MonkeyPatch
) -> None:
    standing.stand()
    monkeypatch.setattr(room, "PATIENCE", 0.3)
    with locking.closed_filestorage(standing.filestorage), pytest.raises(InUse):
        promote(standing.run(), standing.to)
    assert promote(standing.run(), standing.to)


def test_where_there_is_no_standby_none_is_promoted(standing: Standing) -> None:
    with pytest.raises(UsageError, match="there is no standby here"):
        promote(standing.run(), standing.to)
    assert not standing.to.exists()


def test_the_command_promotes_and_says_so(standing: Standing, capsys) -> None:
    last = standing.site.commit({"a": 2})
    standing.store()
    standing.stand()

    config = standing.followed.operated.config_path

    def command(*more: str) -> int:
        return main("standby", STANDARD, str(config), ["--to", str(standing.to), *more])

    assert command("--promote") == 0
    said = capsys.readouterr().out
    assert said.startswith("This is a site now. The last transaction: ")
    assert show_tid(last) in said
    assert command("--every", "0.01") == 2, "it is no standby any more"
    assert command("--promote") == 0


@pytest.mark.parametrize("below", ["", "standby"])
def test_a_file_in_the_place_of_the_directory_is_named(
    standing: Standing, tmp_path: Path, below: str
) -> None:
    (tmp_path / "file").write_bytes(b"of someone")
    standing.to = tmp_path / "file" / below
    for act in (standing.stand, lambda: promote(standing.run(), standing.to)):
        with pytest.raises(UsageError, match=f"is not a directory.*: {tmp_path / 'file'}$"):
            act()
    assert (tmp_path / "file").read_bytes() == b"of someone"


def test_the_mark_of_a_copied_directory_says_nothing(standing: Standing, tmp_path: Path) -> None:
    standing.stand()
    standing.to.rename(tmp_path / "moved")
    standing.to = tmp_path / "moved"
    with pytest.raises(UsageError, match="there is no standby here"):
        promote(standing.run(), standing.to)


def test_a_damaged_mark_is_told(standing: Standing) -> None:
    standing.stand()
    mark_path(standing.filestorage).write_bytes(b"{}")
    with pytest.raises(IntegrityError, match="the mark of the standby cannot be read"):
        standing.stand()
