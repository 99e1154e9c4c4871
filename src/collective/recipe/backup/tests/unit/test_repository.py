"""A repository: what a run costs, what it takes up from others, what it doubts."""

from __future__ import annotations

import sqlite3
import threading
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from unittest.mock import patch

import pytest

from collective.recipe.backup.errors import BackupError, ConfigurationError, IntegrityError
from collective.recipe.backup.repository import ranges
from collective.recipe.backup.repository.newrepository import init
from collective.recipe.backup.repository.pruning import prune
from collective.recipe.backup.repository.ranges import EACH, PLAIN, ranges_of
from collective.recipe.backup.repository.reading import ChunkReader
from collective.recipe.backup.repository.rollback import check_rollback, note_seen
from collective.recipe.backup.repository.standing import lines
from collective.recipe.backup.repository.totals import numbers
from collective.recipe.backup.repository.writing import ChunkWriter, UnstoredError, write
from collective.recipe.backup.tests.faults.stores import FaultyStore
from collective.recipe.backup.tests.repositories import (
    BLOB,
    START,
    World,
    back_up,
    points_of,
    some_state,
    state_of,
    states_of,
    store_state,
)


@pytest.fixture
def world(tmp_path):
    return World(tmp_path)


def objects(world, kind):
    return [name for name in world.store.objects if name.startswith(kind)]


def test_what_is_stored_is_not_stored_again(world):
    with world.open() as repository:
        back_up(repository, some_state(0))
    with world.open() as repository:
        point = back_up(repository, some_state(0))
        assert state_of(repository, point) == some_state(0)
    assert len(objects(world, "bundles/")) == 2  # of leaves, and of nodes
    assert len(objects(world, "m/p-")) == 2


def test_a_backup_costs_few_requests(world):
    with world.open("cache") as repository:
        back_up(repository, some_state(0))
    for number, most in ((0, 10), (3, 14)):
        store = FaultyStore(world.store)
        with world.open("cache", store) as repository:
            back_up(repository, some_state(number))
        assert len(store.asked) <= most


def test_two_sites_share_what_is_equal(world):
    with world.open() as repository:
        one = back_up(repository, some_state(0), site="one")
        two = back_up(repository, some_state(0), site="two")
        assert (one.counter, two.counter, two.predecessor) == (1, 1, None)
    assert len(objects(world, "bundles/")) == 2


def test_a_lost_cache_costs_no_storing_again(world):
    for cache in ("one", "two", None):
        with world.open(cache) as repository:
            back_up(repository, some_state(0))
    assert len(objects(world, "bundles/")) == 2


@pytest.mark.parametrize("data", [b"", b"garbage" * 999, b"SQLite format 3\0" + b"x" * 999])
def test_a_damaged_cache_is_dropped_with_one_line(world, tmp_path, data):
    (tmp_path / "cache").write_bytes(data)
    with world.open("cache") as repository:
        back_up(repository, some_state(0))
    assert len(world.told) == (1 if data else 0)
    with world.open("cache") as repository:
        assert list(states_of(repository).values()) == [some_state(0)]


def test_what_a_damaged_cache_says_of_a_restore_point_is_not_believed(world, tmp_path):
    with world.open("c") as repository:
        point = back_up(repository, some_state(0))
    with closing(sqlite3.connect(tmp_path / "c")) as database:
        (value,) = database.execute(
            "SELECT value FROM kept WHERE name = ?", (f"{point.name} open",)
        ).fetchone()
        damaged = value.replace(b'"counter": 1', b'"counter": 7')
        assert damaged != value
        database.execute(
            "UPDATE kept SET value = ? WHERE name = ?", (damaged, f"{point.name} open")
        )
        database.commit()
    with world.open("c") as repository:
        assert points_of(repository) == (point,)


def test_a_run_that_slept_past_its_ticket_starts_over(world):
    sleeps = [timedelta(hours=3), timedelta(0)]

    def build(writer):
        draft = replace(store_state(writer, some_state(0)), stamp="2026-03-01-12-00-00")
        world.clock.now += sleeps.pop(0)
        return draft

    with world.open() as repository:
        point = write(repository, "site", build, timedelta(hours=2))
        assert not point.is_late
    assert sleeps == []
    assert world.told == ["the repository changed under this run: it starts over"]


def test_what_nobody_vouches_for_cannot_be_named(world):
    with world.open() as repository:
        back_up(repository, some_state(0))
        [root] = points_of(repository)[0].roots
        with ChunkWriter(repository, "backup") as writer:
            with pytest.raises(UnstoredError):
                writer.add_node(b"", [root])
            with pytest.raises(UnstoredError):
                writer.add_node(b"", [repository.keyring.chunk_id(1, b"nowhere")])
            assert writer.build_on(points_of(repository)[0])
            writer.add_node(b"", [root])


def test_what_one_get_reads_is_bounded_by_what_becomes_of_it_in_memory(world):
    """Zeros are stored in next to no bytes: a range of them would fill any memory."""
    piece = 1 << 20
    zeros = [bytes([each]) * piece for each in range(40)]  # of each something else, to be stored

    with world.open() as repository:
        back_up(repository, {f"{each[0]:02}": each for each in zeros})
        chunks = [repository.keyring.chunk_id(BLOB, each) for each in zeros]
        found = list(ranges_of(chunks, repository.index, 1 << 16))
    assert [chunk for each in found for chunk, _place in each.wanted] == chunks
    assert all(each.size <= PLAIN for each in found)
    assert len(found) <= -(-len(zeros) * piece // (PLAIN - piece))


def test_many_chunks_of_a_few_bytes_are_not_read_ahead_all_at_once(world):
    """What is known of each takes more memory than the chunk itself."""
    with world.open() as repository:
        point = back_up(repository, {f"{each:03}": b"%d" % each for each in range(200)})
        [root] = point.roots
        reader = ChunkReader(repository)
        leaves = [leaf for page in reader.nodes(reader.node(root).refs) for leaf in page.refs]
        with patch.object(ranges, "PLAIN", 50 * EACH):
            found = list(ranges_of(leaves, repository.index, 1 << 16))
        assert [chunk for each in found for chunk, _place in each.wanted] == leaves
        assert max(len(each.wanted) for each in found) < 50


def test_scattered_chunks_come_several_at_a_time_without_what_lies_between(world):
    values = {f"n{number:02}": bytes([number]) * 3000 for number in range(40)}
    with world.open() as repository:
        back_up(repository, values)
    sizes, both = [], threading.Barrier(2)
    get = world.store.get

    def met(name, start=0, size=None):
        if size is not None:
            if len(sizes) < 2:
                sizes.append(size)
                both.wait(10)  # the second one is asked for before the first one has come
            else:
                sizes.append(size)
        return get(name, start, size)

    with world.open("host") as repository:
        repository.index.refresh()
        wanted = [repository.keyring.chunk_id(BLOB, values[name]) for name in sorted(values)[::4]]
        reader = ChunkReader(repository)
        assert len(list(reader.each(wanted))) == 10
        repository.store.get = met
        found = dict(reader.whichever(wanted, scattered=True))
        del repository.store.get
        stored = sum(places[0].stored for _chunk, places in repository.index.of(wanted))
    assert list(found.values()) == [values[name] for name in sorted(values)[::4]]
    assert sum(sizes) == stored
    assert len(sizes) == 10


def test_a_chunk_that_is_nowhere_is_told(world):
    with world.open() as repository:
        missing = repository.keyring.chunk_id(1, b"never stored")
        with pytest.raises(IntegrityError, match="no catalog has it"):
            ChunkReader(repository).get(missing)


def test_pruning_most_or_all_needs_a_yes(world):
    with world.open() as repository:
        for number in range(6):
            back_up(repository, some_state(number))
        points = points_of(repository)
        for some, why in ((points[:4], "4 of 6"), (points, "any restore point")):
            with pytest.raises(BackupError, match=why):
                prune(repository, some)
        assert prune(repository, points[:2]) == 2
        assert prune(repository, points, yes=True) == 4


def test_a_store_that_went_back_in_time_is_told_until_it_is_accepted(world):
    with world.open("cache") as repository:
        back_up(repository, some_state(0))
        before = dict(world.store.objects)
        back_up(repository, some_state(1))
        note_seen(repository, points_of(repository))
    world.store.objects = before
    with world.open("cache") as repository:
        with pytest.raises(IntegrityError, match="back in time"):
            check_rollback(repository, repository.look())
        check_rollback(repository, repository.look(), accept=True)
        check_rollback(repository, repository.look())
    with world.open("another host") as repository:
        check_rollback(repository, repository.look())


def test_restore_points_with_strange_claims_begin_lines_of_their_own(world):
    with world.open() as repository:
        good = [
            back_up(repository, some_state(number), tid=f"{number:016x}", records=1000)
            for number in (1, 2)
        ]
        bad = [
            back_up(repository, {}, claimed=START - timedelta(days=30), tid=f"{3:016x}"),
            back_up(repository, {}, claimed=START + timedelta(days=30), tid=f"{3:016x}"),
            back_up(repository, {}, tid=f"{1:016x}", records=1000),
            back_up(repository, {}, tid=f"{3:016x}", records=10),
        ]
        found = lines(points_of(repository))
    first = good[0].name
    assert [name for name, line in found.items() if line == first] == [it.name for it in good]
    assert found.keys() == {point.name for point in good + bad}


def test_a_restore_point_stays_in_its_line_when_the_one_before_it_is_gone(world):
    with world.open() as repository:
        points = [
            back_up(repository, some_state(number), tid=f"{number:016x}", records=1000)
            for number in range(5)
        ]
        prune(repository, points[2:4])
        found = lines(points_of(repository))
    assert set(found.values()) == {points[0].name}


def test_a_line_that_ended_long_ago_counts_to_the_newest(world):
    with world.open() as repository:
        packed = back_up(repository, {}, tid="1" * 16, records=1000)
        after = back_up(repository, {}, tid="2" * 16, records=10)
        assert lines(points_of(repository)) == {each.name: each.name for each in (packed, after)}
        world.clock.go_on(days=399)
        later = back_up(repository, {}, tid="3" * 16, records=10)
        assert set(lines(points_of(repository)).values()) == {packed.name, after.name}
        world.clock.go_on(days=2)
        newest = back_up(repository, {}, tid="4" * 16, records=10)
        found = lines(points_of(repository))
    assert found.keys() == {each.name for each in (packed, after, later, newest)}
    assert set(found.values()) == {after.name}


def test_numbers_of_a_repository(world):
    with world.open() as repository:
        back_up(repository, some_state(0))
        found = numbers(repository)
    assert {word: each.objects for word, each in found.kinds.items()} == {
        "bundles": 2,
        "catalogs": 1,
        "control": 1,
        "format": 1,
        "keys": 1,
    }
    assert len(found.standing.points) == 1
    assert 0 < found.bundles.used <= found.bundles.stored


def test_a_repository_is_made_only_where_nothing_is(world):
    with pytest.raises(ConfigurationError, match="a repository already"):
        init(world.store, None, START)
    # bundles come before it in a listing
    world.store.put("bundles/00/strange", b"data")
    with pytest.raises(ConfigurationError, match="a repository already"):
        init(world.store, None, START)
    del world.store.objects["format"]
    with pytest.raises(ConfigurationError, match="no repository"):
        init(world.store, None, START)
