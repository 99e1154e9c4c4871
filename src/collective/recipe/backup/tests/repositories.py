"""Repositories for tests: a store whose clock the test turns, and states that are dicts.

A state is a dict of names and bytes.  It is stored as a site would be: a leaf for each value,
pages of a few leaves, one node above them; so pages are shared by states that share values.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping
from contextlib import ExitStack
from datetime import datetime, timedelta, timezone
from pathlib import Path

from collective.recipe.backup import times
from collective.recipe.backup.repository import slots
from collective.recipe.backup.repository.chunks import LEAF, NODE
from collective.recipe.backup.repository.newrepository import init
from collective.recipe.backup.repository.opened import Client, Repository, open_repository
from collective.recipe.backup.repository.points import Draft, Point
from collective.recipe.backup.repository.reading import ChunkReader
from collective.recipe.backup.repository.standing import standing
from collective.recipe.backup.repository.tickets import LIFETIME
from collective.recipe.backup.repository.writing import ChunkWriter, write
from collective.recipe.backup.stores import Store
from collective.recipe.backup.stores.memory import MemoryStore
from collective.recipe.backup.tests.faults.harness import Hasty

# a key that costs 100 ms to try is right for users, and too dear for thousands of tests
slots._ARGON2 = {"passes": 1, "memory": 64, "lanes": 1}

PASSPHRASE = "correct horse battery"
START = datetime(2026, 3, 1, 12, tzinfo=timezone.utc)
PAGE = 4
BLOB = LEAF + 1
_PAGE = NODE + 1

State = Mapping[str, bytes]


class Clock:
    """A clock that goes on by a second with each look, and as the test says."""

    def __init__(self, now: datetime = START) -> None:
        self.now = now

    def __call__(self) -> datetime:
        self.now += timedelta(seconds=1)
        return self.now

    def go_on(self, **amount: float) -> None:
        self.now += timedelta(**amount)


class World:
    """A store with a repository in it, and a place for caches."""

    def __init__(self, directory: Path, store: Store | None = None, *, encrypted: bool = True):
        self.clock = Clock()
        self.store = store or MemoryStore(self.clock)
        self.directory = directory
        self.passphrase = PASSPHRASE if encrypted else None
        self.told: list[str] = []
        self._caches = itertools.count()
        self.kept = ExitStack()  # repositories that stay open to the end of a test
        init(self.store, self.passphrase, START)

    def client(self, cache: str | None = None, passphrase: str | None = None) -> Client:
        secret = passphrase or self.passphrase
        return Client(
            files=Hasty(),
            cache=self.directory / cache if cache else None,
            ask=(lambda: secret) if secret is not None else None,
            tell=self.told.append,
        )

    def open(self, cache: str | None = None, store: Store | None = None) -> Repository:
        """Open the repository as a host whose cache has this name; None: it has none."""
        return open_repository(store or self.store, self.client(cache))


def store_state(writer: ChunkWriter, state: State) -> Draft:
    """Let *writer* store *state*; return the draft of its restore point, without a stamp."""
    names = sorted(state)
    pages = []
    for begin in range(0, len(names), PAGE):
        some = names[begin : begin + PAGE]
        leaves = [writer.add(BLOB, state[name]) for name in some]
        pages.append(writer.add_node(json.dumps(some).encode(), leaves, _PAGE))
    root = writer.add_node(b"", pages)
    return Draft(stamp="", claimed=START, roots=(root,))


def back_up(
    repository: Repository,
    state: State,
    *,
    site: str = "site",
    claimed: datetime | None = None,
    lifetime: timedelta = LIFETIME,
    tid: str = "",
    records: int | None = None,
) -> Point:
    """Make a restore point of *state*, at the moment *claimed* or that of the store."""
    moment = claimed or repository.store.clock()

    def build(writer: ChunkWriter) -> Draft:
        roots = store_state(writer, state).roots
        return Draft(
            stamp=times.stamp(moment),
            claimed=moment,
            roots=roots,
            payload=json.dumps(sorted(state)).encode(),
            tid=tid,
            records=records,
        )

    return write(repository, site, build, lifetime)


def state_of(repository: Repository, point: Point) -> dict[str, bytes]:
    """Return the state that *point* has, every byte of it read."""
    reader = ChunkReader(repository)
    [root] = point.roots
    found = {}
    for page in reader.node(root).refs:
        node = reader.node(page)
        data = [each for _chunk, each in reader.each(node.refs)]
        found.update(zip(json.loads(node.payload), data, strict=True))
    assert json.loads(point.payload) == sorted(found)
    return found


def points_of(repository: Repository) -> tuple[Point, ...]:
    """Return the restore points that count."""
    repository.index.refresh()
    return standing(repository, repository.look()).points


def states_of(repository: Repository) -> dict[str, dict[str, bytes]]:
    """Return the states of all restore points, by the names of their objects."""
    return {point.name: state_of(repository, point) for point in points_of(repository)}


def some_state(number: int, size: int = 6) -> dict[str, bytes]:
    """Return a state that shares most values with those of the numbers beside it."""
    return {
        f"n{each}": f"value {each} ".encode() * (each % 7 + 1) * 9
        for each in range(number, number + size)
    }
