"""A ZEO server that packs, is started again or dies, at the worst moments of a backup."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ZODB.Connection import TransactionMetaData

from collective.recipe.backup.amounts import number_of
from collective.recipe.backup.destinations import Depth
from collective.recipe.backup.errors import DONE, IntegrityError, InUse
from collective.recipe.backup.files import Files
from collective.recipe.backup.links import StrPath
from collective.recipe.backup.tests.runs import Operated
from collective.recipe.backup.tests.samples import Site, contents_of
from collective.recipe.backup.tests.scripts import Mark, Script, running, wait_until
from collective.recipe.backup.tests.zeo import Zeo
from collective.recipe.backup.times import Tid

REVISIONS = 4
"""How often each blob is written: the last one stays when the site is packed."""
BLOBS = ("a", "b", "c")


class Meanwhile(Files):
    """Files that let something happen before the change number *number* that fits *mark*.

    Nothing else is changed while it does.
    """

    def __init__(self, mark: Mark, number: int, action: Callable[[], object]) -> None:
        super().__init__()
        self.happened = False
        self._mark, self._number, self._action = mark, number, action
        self._lock = threading.RLock()

    def _change(self, operation: str, path: StrPath, *args: Any, **kwargs: Any) -> Any:
        with self._lock:
            if self._mark.fits(operation, path):
                self._number -= 1
                if not self._number:
                    self._action()
                    self.happened = True
            return super()._change(operation, path, *args, **kwargs)


def work(site: Site, revisions: int = REVISIONS) -> None:
    """Write each blob several times."""
    with site.opened():
        for number in range(revisions):
            site.commit({"a": number}, {name: b"%d" % number for name in BLOBS})


BETWEEN = {True: Mark("mkdir", "blobstorage.*.partial"), False: Mark("create", "0x*.blob.*")}
DURING = {True: Mark("create", "0x*.blob"), False: Mark("rename", "0x*.blob")}


@pytest.fixture(params=["full", "incremental"])
def full(request: pytest.FixtureRequest) -> bool:
    return request.param == "full"


@pytest.fixture(params=["between", "during"])
def moment(request: pytest.FixtureRequest, full: bool) -> tuple[Mark, int]:
    """When to pack: after the filestorage part, or when two blobs are copied."""
    return (BETWEEN[full], 1) if request.param == "between" else (DURING[full], 3)


@pytest.fixture
def operated(site: Site, full: bool) -> Operated:
    """A site with something to pack away; if not *full*, there is an earlier backup."""
    operated = Operated(site)
    if not full:
        site.commit({"a": -1}, dict.fromkeys(BLOBS, b"first"))
        operated.backup()
    work(site)
    return operated


def test_a_pack_in_the_middle_of_a_backup_takes_nothing_from_it(
    operated: Operated, moment: tuple[Mark, int], tmp_path: Path
) -> None:
    contents = operated.site.contents()
    with Zeo(operated.site) as zeo:
        files = Meanwhile(*moment, zeo.pack)
        operated.backup(files=files)
        assert files.happened
        assert operated.site.contents() != contents

        [*_, point] = operated.points()
        assert point.whole
        operated.restore(to=tmp_path / "before")
        assert contents_of(tmp_path / "before/Data.fs", tmp_path / "before/blobstorage") == contents

        check_the_next_one(operated, tmp_path / "after")


def test_what_a_pack_removes_in_the_middle_of_a_backup_is_said_to_be_missing(
    operated: Operated, moment: tuple[Mark, int], tmp_path: Path
) -> None:
    before = operated.site.contents()
    with Zeo(operated.site, keep_old=False) as zeo:
        files = Meanwhile(*moment, zeo.pack)
        with pytest.raises(IntegrityError, match="missing at the source") as caught:
            operated.backup(files=files)
        assert files.happened
        assert caught.value.exit_code == 3

        [*_, point] = operated.points()
        assert not point.whole
        assert point.restorable
        operated.restore(to=tmp_path / "before")
        lost = missing(before["revisions"], tmp_path / "before/blobstorage")
        assert point.problems[0].startswith(number_of(len(lost), "blob was", "blobs were"))
        # what people see is there: it is older revisions that the pack took
        assert not lost & {key for key, _digest in current(operated.site)}

        check_the_next_one(operated, tmp_path / "after")


def missing(revisions: dict[tuple[str, str], str], blobstorage: Path) -> set[tuple[str, str]]:
    """Return those of *revisions*, by tid and oid, whose files are not there."""
    there = {
        (path.stem[2:], "".join(part[2:] for part in path.relative_to(blobstorage).parts[:-1]))
        for path in blobstorage.rglob("*.blob")
    }
    return set(revisions) - there


def current(site: Site) -> set[tuple[tuple[str, str], str]]:
    """Return what is left of the revisions of blobs in a site that was packed."""
    return set(site.contents()["revisions"].items())


def check_the_next_one(operated: Operated, target: Path) -> None:
    """Check that the next backup is whole and sound, and restores what the site is now."""
    operated.backup()
    [*_, point] = operated.points()
    assert point.whole
    operated.restore(to=target)
    now = operated.site.contents()
    assert contents_of(target / "Data.fs", target / "blobstorage") == now


@pytest.mark.parametrize("full", ["full"], indirect=True)
def test_a_pack_while_the_filestorage_is_read_changes_nothing_in_it(
    operated: Operated, tmp_path: Path
) -> None:
    contents = operated.site.contents()
    with Zeo(operated.site) as zeo:
        files = Meanwhile(Mark("write", "*.fsz.*"), 1, zeo.pack)
        operated.backup(files=files)
        assert files.happened

        operated.restore(to=tmp_path / "before")
        assert contents_of(tmp_path / "before/Data.fs", tmp_path / "before/blobstorage") == contents
        check_the_next_one(operated, tmp_path / "after")


def test_following_goes_on_when_zeo_is_started_again(site: Site) -> None:
    site.commit({"a": 0}, {"b": b"0"})
    operated = Operated(site)
    follower = Script(operated.config_path, "backup", "--follow", "--every", "0.1")
    with Zeo(site) as zeo, running(follower):
        for number, death in enumerate((signal.SIGTERM, signal.SIGKILL, signal.SIGKILL), 1):
            tid = commit(zeo, number)
            wait_for_restore_point(operated, tid)
            if number > 1:
                die_in_the_middle_of_a_transaction(zeo)
            else:
                zeo.stop(death)
            zeo.start()
        wait_for_restore_point(operated, commit(zeo, 9))
        follower.process.terminate()
        assert follower.wait() == DONE
    check_sound(operated)
    contents = site.contents()
    assert contents["values"] == {"a": 9}
    site.lose()
    operated.restore()
    assert site.contents() == contents


def commit(zeo: Zeo, number: int) -> Tid:
    """Commit a value and a blob; return the tid."""
    with zeo.client() as db:
        with db.transaction() as connection:
            connection.root()["values"]["a"]["value"] = number
            with connection.root()["blobs"]["b"].open("w") as file:
                file.write(b"%d" % number)
        return Tid(db.lastTransaction())


def die_in_the_middle_of_a_transaction(zeo: Zeo) -> None:
    """Kill the server when a transaction was voted for: it is in the file, and does not count."""
    size = zeo.site.size
    with zeo.client() as db:
        storage, work = db.storage, TransactionMetaData()
        storage.tpc_begin(work)
        data, serial = storage.load(bytes(8))
        storage.store(bytes(8), serial, data, "", work)
        storage.tpc_vote(work)
        assert zeo.site.size > size
        zeo.stop(signal.SIGKILL)
        storage.tpc_abort(work, timeout=0.1)


def wait_for_restore_point(operated: Operated, tid: Tid) -> None:
    wait_until(
        lambda: any((point.tid or b"") >= tid for point in operated.points()), "nobody follows"
    )


def check_sound(operated: Operated) -> None:
    assert list(operated.destination().verify(Depth.CHECKSUMS)) == []


def test_a_backup_of_a_transaction_that_is_being_written_leaves_it_out(site: Site) -> None:
    site.commit({"a": 1}, {"b": b"1"})
    operated = Operated(site)
    contents = site.contents()
    with Zeo(site) as zeo:
        die_in_the_middle_of_a_transaction(zeo)
        assert operated.backup().point.end < site.size
        zeo.start()
        tid = commit(zeo, 2)
    operated.backup()
    check_sound(operated)

    [first, second] = operated.points()
    assert second.tid == tid
    operated.restore(first.moment)
    assert site.contents() == contents


def test_a_restore_while_zeo_is_running_is_refused(site: Site, tmp_path: Path) -> None:
    site.commit({"a": 1}, {"b": b"1"})
    operated = Operated(site)
    operated.backup()
    contents = site.contents()
    with Zeo(site) as zeo:
        commit(zeo, 2)
        later = site.contents()

        refused = Script(operated.config_path, "restore")
        assert refused.wait() == InUse.exit_code
        assert "the filestorage is open" in refused.output
        assert "stop the ZEO server" in refused.output
        assert site.contents() == later

        beside = Script(operated.config_path, "restore", "--to", tmp_path / "to")
        assert beside.wait() == DONE
        assert contents_of(tmp_path / "to/Data.fs", tmp_path / "to/blobstorage") == contents
        commit(zeo, 3)
    allowed = Script(operated.config_path, "restore")
    assert allowed.wait() == DONE
    assert site.contents() == contents
