"""What a backup makes after damage can be restored, whichever chunk of the earlier ones it is."""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from datetime import timedelta
from fractions import Fraction

import pytest

from collective.recipe.backup.destinations import Depth, damage
from collective.recipe.backup.destinations.repository import kinds, treefiles
from collective.recipe.backup.errors import IntegrityError
from collective.recipe.backup.operations import sampling
from collective.recipe.backup.operations.verify import VerifyOrder, verify
from collective.recipe.backup.repository.chunks import is_node
from collective.recipe.backup.repository.names import bundle_name
from collective.recipe.backup.repository.places import ChunkPlace
from collective.recipe.backup.repository.reaching import Reached, reach
from collective.recipe.backup.tests.contracts.destination import staged
from collective.recipe.backup.tests.repositorysites import small_pages
from collective.recipe.backup.tests.segmented import small_sizes
from collective.recipe.backup.tests.unit.test_repository_files import SiteWithFiles, looks

KINDS = {
    name: getattr(kinds, name)
    for name in (
        "SEGMENT", "RECORD_INDEX", "SPANS", "LOG", "BLOB", "BLOB_PIECES", "BLOB_PAGE",
        "BLOB_LIST", "FILE", "FILE_PIECES", "TREE_PAGE", "TREE",
    )
}  # fmt: skip
READ = {"LOG", "BLOB_LIST", "TREE_PAGE", "TREE"}
"""What every backup reads of the one before it, so that it meets damage by itself."""

NODES = {name for name, kind in KINDS.items() if is_node(kind)}


class Spoilt(SiteWithFiles):
    """A site with a restore point that has chunks of all kinds, and what the store had then."""

    def __init__(self, directory) -> None:
        super().__init__(directory)
        chance = random.Random(1)
        with self.site.opened():
            for number in range(16):
                some = {str(number): chance.randbytes(5000)}
                self.site.commit(some, {f"b{number}": chance.randbytes(9000 if number == 3 else 9)})
        (self.etc / "large").write_bytes(chance.randbytes(3 << 20))
        (self.etc / "sub").mkdir()
        (self.etc / "sub" / "small").write_bytes(b"small")
        self.backup()
        self.first = self.points()[0]
        self.places = self._places()
        self._objects = dict(self.store.objects)

    def _places(self) -> dict[int, ChunkPlace]:
        """Return one place of a chunk of each kind that the restore point needs."""
        found: dict[int, ChunkPlace] = {}
        reached = Reached()
        with self.destination()._repository() as repository:
            roots = self.destination()._point(repository, self.first.stamp).roots
            reach(
                repository, roots, reached,
                lambda _chunk, places: found.setdefault(places[0].kind, places[0]),
            )  # fmt: skip
        reached.close()
        return found

    def renew(self) -> None:
        """Bring back the store of the first restore point, and know nothing of it."""
        shutil.rmtree(self.repository_place.state)
        self.store.objects = dict(self._objects)

    def mend(self) -> None:
        """Bring back all that the first restore point needs, and leave the rest as it is."""
        self.store.objects |= self._objects

    def spoil(self, kind: str, how: str = "changed") -> None:
        """Damage a chunk of this kind."""
        place = self.places[KINDS[kind]]
        name = bundle_name(place.bundle)
        if name not in self.store.objects:
            return
        data, moment = self.store.objects[name]
        if how == "gone":
            del self.store.objects[name]
            return
        at = place.offset + place.stored // 2
        self.store.objects[name] = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :], moment

    def change(self) -> None:
        """Change something else: a record, and a file in another directory."""
        self.now += timedelta(hours=1)
        self.site.commit({"new": self.now.hour}, at=self.now)
        (self.etc / "new").mkdir(exist_ok=True)
        (self.etc / "new" / str(self.now.hour)).write_bytes(b"new")

    def verify(self) -> int:
        """Verify all as the verb does; return how many problems there are."""
        found = verify(
            self.run("verify"), VerifyOrder(depth=Depth.CHECKSUMS), lambda _source, _problem: None
        )
        return sum(each.problems for each in found)

    def has(self, stamp: str, to) -> bool:
        """Tell whether the restore point *stamp* can be restored to the byte."""
        destination = self.destination()
        point = next(each for each in destination.restore_points() if each.stamp == stamp)
        if list(destination.verify(Depth.CHECKSUMS, only=point)):
            return False
        assert staged(self, None, to / "site") == self.site.contents()
        assert self.files(to / "files") == looks(self.etc)
        return True


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Iterator[Spoilt]:
    with ExitStack() as stack:
        stack.enter_context(small_sizes(1 << 14))
        stack.enter_context(small_pages())
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        patch.setattr(treefiles, "PIECES_NAMED", 1)
        yield Spoilt(tmp_path_factory.mktemp("spoilt"))


@pytest.fixture
def spoilt(site: Spoilt) -> Spoilt:
    site.renew()
    return site


def test_the_restore_point_of_these_tests_has_chunks_of_all_kinds(site):
    assert site.places.keys() == set(KINDS.values())


@pytest.mark.parametrize("how", ["changed", "gone"])
@pytest.mark.parametrize("kind", KINDS)
def test_what_verify_has_named_is_stored_again_by_the_next_backup(spoilt, tmp_path, kind, how):
    spoilt.spoil(kind, how)
    assert spoilt.verify()
    spoilt.change()
    assert spoilt.has(spoilt.backup().point.stamp, tmp_path)


@pytest.mark.parametrize("kind", sorted(READ))
def test_what_a_backup_finds_damaged_is_stored_again_by_it(spoilt, tmp_path, kind):
    spoilt.spoil(kind)
    spoilt.change()
    assert spoilt.has(spoilt.backup().point.stamp, tmp_path)


@pytest.mark.parametrize(("how", "which"), [("changed", NODES), ("gone", set(KINDS))])
def test_damaged_chunks_of_many_kinds_are_stored_again_by_a_backup(spoilt, tmp_path, how, which):
    for kind in sorted(which):
        spoilt.spoil(kind, how)
    spoilt.change()
    assert spoilt.has(spoilt.backup().point.stamp, tmp_path)


@pytest.mark.parametrize("kind", ["BLOB", "FILE"])
def test_what_no_backup_reads_is_named_by_verify_and_then_stored_again(spoilt, tmp_path, kind):
    spoilt.spoil(kind)
    spoilt.change()
    assert not spoilt.has(spoilt.backup().point.stamp, tmp_path)
    assert spoilt.verify()
    spoilt.change()
    assert spoilt.has(spoilt.backup().point.stamp, tmp_path)


def test_a_backup_with_nothing_new_makes_the_last_restore_point_whole_again(spoilt, tmp_path):
    spoilt.change()
    last = spoilt.backup().point.stamp
    spoilt.spoil("SEGMENT")
    assert spoilt.verify()
    spoilt.backup()
    assert spoilt.has(last, tmp_path)
    assert spoilt.verify() == 0


def test_what_was_damaged_is_not_relied_on_though_its_restore_points_are_gone(spoilt, tmp_path):
    spoilt.spoil("BLOB")
    assert spoilt.verify()
    destination = spoilt.destination()
    destination.remove(destination.restore_points(), certain=True)
    assert not spoilt.points()
    spoilt.change()
    assert spoilt.has(spoilt.backup().point.stamp, tmp_path)


def test_what_can_be_read_after_all_is_not_stored_again(spoilt):
    spoilt.spoil("FILE")
    assert spoilt.verify()
    assert damage.read(spoilt.destination().home.state).objects
    spoilt.mend()
    before = set(spoilt.store.objects)
    spoilt.backup()
    assert not damage.read(spoilt.destination().home.state).objects
    assert not [name for name in set(spoilt.store.objects) - before if "m/x-" in name]


def test_damage_that_a_rehearsal_meets_is_told_with_the_bundle_that_has_it(spoilt, tmp_path):
    spoilt.spoil("SEGMENT")
    with pytest.raises(IntegrityError) as caught:
        staged(spoilt, None, tmp_path / "to")
    # which rehearse remembers, as verify does
    problem = spoilt.destination().problem_of(caught.value)
    assert problem.objects == (bundle_name(spoilt.places[kinds.SEGMENT].bundle),)


def test_what_was_found_of_an_earlier_state_of_a_store_is_remembered_of_no_moment(spoilt, caplog):
    spoilt.spoil("SEGMENT", "gone")
    run = replace(spoilt.run("verify"), as_of=spoilt.now)
    spoilt.repository_place.state.mkdir()
    for share in (None, Fraction(1, 2)):
        order = VerifyOrder(depth=Depth.CHECKSUMS, share=share)
        [found] = verify(run, order, lambda _source, _problem: None)
        assert found.is_damaged
    state = spoilt.repository_place.state
    assert not (state / damage.NAME).exists()
    assert not (state / sampling.NAME).exists()
    assert "cannot remember" not in caplog.text
