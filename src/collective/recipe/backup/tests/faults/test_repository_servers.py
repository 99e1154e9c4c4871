"""The way to a real server breaks in runs on one repository: everything stored can be restored.

One repository lives through all faults, one after the other, as it would in a bad month: whatever
one run leaves is what the next one finds.  At the end the store is sound, each restore point of a
run that said it had succeeded can be read to the byte, and no other one is there but those of
runs that failed and had made theirs.
"""

from __future__ import annotations

import itertools
import os
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from datetime import datetime, timezone
from pathlib import Path

import pytest

from collective.recipe.backup.errors import BackupError, StoreUnreachable
from collective.recipe.backup.files import Files
from collective.recipe.backup.progress import Silent
from collective.recipe.backup.repository.collecting import collect
from collective.recipe.backup.repository.plans import Rules
from collective.recipe.backup.repository.pruning import prune
from collective.recipe.backup.repository.scrubbing import scrub
from collective.recipe.backup.stores import Store
from collective.recipe.backup.stores.buckets import bucketplace
from collective.recipe.backup.stores.opening import store_at
from collective.recipe.backup.tests.faults.stores import Age, AgedStore
from collective.recipe.backup.tests.repositories import (
    World,
    back_up,
    points_of,
    some_state,
    state_of,
)
from collective.recipe.backup.tests.servers import BUCKET, answer, proxied
from collective.recipe.backup.tests.wires import wire_to

Fault = str | bytes
FIRST, LAST = 0, -1


class Life:
    """A repository on a server, and the states that it must have by stamp.

    *store* opens the store as a writer, by a number.  A state has *size* values.
    """

    def __init__(self, directory: Path, store: Callable[[int], Store], size: int = 6) -> None:
        self._size = size
        self.age = Age()
        self._store = store
        self.world = World(directory, self.store())
        self.states: dict[str, dict[str, bytes]] = {}  # of runs that have succeeded
        self.possible: dict[str, dict[str, bytes]] = {}  # of runs that failed, and of pruned ones
        self._numbers = itertools.count()

    def store(self, writer: int = 0) -> Store:
        return AgedStore(self._store(writer), self.age)

    def back_up(self, writer: int = 0) -> None:
        self.age.go_on(hours=1)
        claimed = datetime.now(timezone.utc) + self.age.passed
        state = some_state(next(self._numbers), self._size)
        stamp = f"{claimed:%Y-%m-%d-%H-%M-%S}"
        self.possible[stamp] = state
        with self.world.open(f"host{writer}", self.store(writer)) as repository:
            point = back_up(repository, state, claimed=claimed)
        assert point.stamp == stamp
        self.states[stamp] = self.possible.pop(stamp)

    def prune(self, writer: int = 0) -> None:
        """Remove the oldest restore point."""
        self.age.go_on(hours=1)
        with self.world.open(f"host{writer}", self.store(writer)) as repository:
            [oldest, *_rest] = points_of(repository)
            if oldest.stamp in self.states:
                self.possible[oldest.stamp] = self.states.pop(oldest.stamp)
            prune(repository, [oldest])
        # it is gone, and does not come back
        del self.possible[oldest.stamp]

    def collect(self, writer: int = 0) -> None:
        """Remove what nothing needs, days after the last time."""
        self.age.go_on(days=3)
        with self.world.open(f"host{writer}", self.store(writer)) as repository:
            collect(repository, Rules(max_unused=0), yes=True)

    def check(self, *caches: str | None) -> None:
        with closing(self.store()) as store:
            assert not scrub(store, Silent()).damaged
        self.world.store.close()
        for cache in caches or (None, "host0"):
            with self.world.open(cache, self.store()) as repository:
                found = {it.stamp: state_of(repository, it) for it in points_of(repository)}
            assert {stamp: found.get(stamp) for stamp in self.states} == self.states
            rest = found.keys() - self.states.keys()
            assert {stamp: found[stamp] for stamp in rest} == {
                stamp: self.possible.get(stamp) for stamp in rest
            }


Run = Callable[[Life, int], None]


class Breaking:
    """The requests over a proxy, of which one breaks, or all from one on.

    *kind_of* names the kind of a request by its method and its path.
    """

    def __init__(self, proxy, kind_of: Callable[[str, str], str]) -> None:
        self._proxy = proxy
        self._kind_of = kind_of
        self.struck: list[tuple[str, str, Fault]] = []

    def count(self, run: Callable[[], object]) -> Counter[str]:
        """Return how many requests of each kind *run* makes."""
        before = len(self._proxy.asked)
        run()
        return Counter(itertools.starmap(self._kind_of, self._proxy.asked[before:]))

    def break_in(
        self, run: Callable[[], object], kind: str, number: int, fault: Fault, *, dead: bool = False
    ) -> BaseException | None:
        """Let request *number* (from 1) of a *kind* break; return what *run* has raised.

        If the server is *dead* from there on, no later request reaches it.
        """
        seen, struck = itertools.count(1), []

        def strike(method: str, path: str, _number: int) -> Fault | None:
            if struck:
                return "reset" if dead else None
            if self._kind_of(method, path) != kind or next(seen) != number:
                return None
            struck.append((kind, path, fault))
            return fault

        self._proxy.fault = strike
        try:
            run()
        except BackupError as error:
            return error
        finally:
            self._proxy.fault = lambda *_request: None
            self.struck += struck
        return None


def page(status: int, body: bytes = b"No.") -> bytes:
    head = f"HTTP/1.1 {status} No\r\nContent-Type: text/plain\r\nContent-Length: {len(body)}\r\n"
    return f"{head}Connection: close\r\n\r\n".encode() + body


def kind_in_grid(method: str, path: str) -> str:
    """Tell an upload from a link, and a directory that is read from a file."""
    if method == "PUT":
        return "link" if "t=uri" in path else "put"
    if method == "GET":
        return "directory" if "t=json" in path else "get"
    return "make" if method == "POST" else method.lower()


@pytest.mark.slow
@pytest.mark.needs("tahoe")
def test_whatever_breaks_on_the_way_to_a_grid_each_restore_point_can_be_restored(
    grid, grid_directory, tmp_path
):
    with proxied(grid.port) as proxy:

        def store(writer: int) -> Store:
            node = f"?node=http://127.0.0.1:{proxy.port}&writer=w{writer}"
            return store_at(f"tahoe:{grid_directory}{node}", Files())

        life, breaking = Life(tmp_path, store, size=2), Breaking(proxy, kind_in_grid)
        asked = breaking.count(life.back_up)
        assert asked["put"] > 3
        last = asked["put"]
        faults: list[tuple[Run, int, str, int, Fault, bool]] = [
            (Life.back_up, 0, "put", 1, "lost", False),
            (Life.back_up, 1, "make", 1, "lost", False),
            (Life.back_up, 0, "put", last, page(500), True),
            (Life.back_up, 0, "directory", 1, "cut", False),
            (Life.prune, 0, "link", 1, "lost", False),
            (Life.collect, 0, "delete", 1, "reset", True),
        ]
        for run, writer, kind, number, fault, dead in faults:
            error = breaking.break_in(
                lambda run=run, writer=writer: run(life, writer), kind, number, fault, dead=dead
            )
            assert error is None or isinstance(error, StoreUnreachable)
            assert error is not None or not dead
        assert len(breaking.struck) >= len(faults) - 2, breaking.struck
        life.check(None)
        assert len(life.states) > 1


def kind_in_bucket(method: str, path: str) -> str:
    if method == "GET":
        return "list" if "list-type" in path else "get"
    return method.lower()


@pytest.mark.slow
@pytest.mark.needs("weed")
def test_whatever_breaks_on_the_way_to_a_bucket_each_restore_point_can_be_restored(
    weed, s3_credentials, tmp_path, monkeypatch
):
    hasty = bucketplace.Patience(connect=2, silent=5, whole=20, retry=0.1, pauses=(0.02, 0.02))
    monkeypatch.setattr(bucketplace, "PATIENCE", hasty)
    with proxied(weed) as proxy:
        prefix = f"harness/{os.getpid()}-{proxy.port}"
        url = f"s3://{BUCKET}/{prefix}?endpoint=http://127.0.0.1:{proxy.port}"
        life = Life(tmp_path, lambda _writer: store_at(url, Files()))
        breaking = Breaking(proxy, kind_in_bucket)
        faults: list[tuple[Run, str, int, Fault, bool]] = [
            (Life.back_up, "put", FIRST, "lost", False),
            (Life.back_up, "put", LAST, "lost", True),
            (Life.back_up, "put", FIRST, "reset", True),
            (Life.back_up, "put", FIRST, answer(500, "InternalError"), False),
            (Life.back_up, "put", LAST, answer(503, "SlowDown"), False),
            (Life.back_up, "put", LAST, answer(409, "ConditionalRequestConflict"), False),
            (Life.back_up, "put", FIRST, answer(412, "PreconditionFailed"), False),
            (Life.back_up, "list", FIRST, "cut", False),
            (Life.back_up, "list", LAST, "reset", True),
            (Life.back_up, "get", FIRST, "cut", False),
            (Life.back_up, "delete", FIRST, "lost", True),
            (Life.prune, "put", FIRST, "lost", False),
            (Life.prune, "put", LAST, "reset", True),
            (Life.prune, "delete", FIRST, "lost", False),
            (Life.prune, "delete", LAST, "reset", True),
            (Life.collect, "put", FIRST, "lost", False),
            (Life.collect, "put", LAST, "reset", True),
            (Life.collect, "get", FIRST, "cut", False),
            (Life.collect, "list", FIRST, "reset", True),
            (Life.collect, "delete", FIRST, "lost", False),
            (Life.collect, "delete", LAST, "reset", True),
        ]
        counted: dict[Run, Counter[str]] = {}
        for run, kind, which, fault, dead in faults:
            life.back_up()
            if run not in counted:
                counted[run] = breaking.count(lambda run=run: run(life, 0))
                life.back_up()
            number = 1 if which == FIRST else max(1, counted[run][kind])
            error = breaking.break_in(lambda run=run: run(life, 0), kind, number, fault, dead=dead)
            assert error is None or isinstance(error, StoreUnreachable)
        assert len(breaking.struck) >= len(faults) - 2, breaking.struck
        life.collect()
        life.check()
        assert len(life.states) > 20


@pytest.fixture
def fused(sshd, in_a_home_for_sshd) -> Iterator:
    """A wire to the server of SFTP."""
    key = (Path(sshd.directory) / "host.pub").read_text()
    with wire_to(sshd.port) as wire:
        (in_a_home_for_sshd / ".ssh" / "known_hosts").write_text(f"[127.0.0.1]:{wire.port} {key}")
        yield wire


@pytest.mark.slow
@pytest.mark.needs("sshd")
def test_wherever_the_line_to_a_server_of_sftp_is_cut_each_restore_point_can_be_restored(
    fused, impatient, tmp_path
):
    (tmp_path / "far").mkdir()
    url = f"sftp://127.0.0.1:{fused.port}{tmp_path}/far/store"
    life = Life(tmp_path, lambda _writer: store_at(url, Files()))
    before = fused.sent
    life.back_up()
    whole, cuts = fused.sent - before, 0
    runs = (Life.back_up, Life.back_up, Life.prune, Life.collect)
    for number, share in enumerate(range(1, 13)):
        fused.cut_after(whole * share // 13)
        with suppress(StoreUnreachable):
            runs[number % 4](life, 0)
        cuts += fused.was_cut
        fused.cut_after(None)
    assert cuts > 8
    life.collect()
    life.check()
    assert len(life.states) > 2
