"""Encrypted repositories in buckets side by side: ours and restic, at one server of S3.

``python -m benchmarks.buckets --scratch DIRECTORY`` starts SeaweedFS on this machine, and ends
it afterwards.  Each keeper has a bucket of its own.  What a bucket has after a work is kept in
another one, so that all rounds of the next work begin alike.  A turn that counts the requests
goes through a proxy; those that take the time do not.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from benchmarks.bucketkeepers import BucketKeeper, of_restic, ours
from benchmarks.bucketserver import Server, running
from benchmarks.keepers import Command
from benchmarks.measuring import Trash, compile_ours, take
from benchmarks.states import DAY, YESTERDAY, States, made
from benchmarks.tables import is_reached, table
from benchmarks.works import Counting, Entry, Goal, Plan, Row, Work

TITLE = "Encrypted repositories in a bucket"

MEMORY = 200
"""MB that any work may take."""

Prepare = Callable[[], AbstractContextManager[object]]


class BucketMoments:
    """The bucket of one keeper, which can be what it was before a work."""

    def __init__(self, keeper: BucketKeeper, server: Server, states: States, trash: Trash) -> None:
        self.keeper = keeper
        self._server = server
        self._states = states
        self._trash = trash
        self._kept: set[str] = set()

    def empty(self) -> AbstractContextManager[object]:
        """Prepare for a first backup of the site as it was yesterday."""
        self._trash.empty()
        self._server.make(self.keeper.name)
        self._forget()
        self._states.switch(YESTERDAY, index=YESTERDAY)
        command: Command = (*self.keeper.call(self._server.direct), *self.keeper.make)
        take(command, self.keeper.directory / "make.log")
        return nullcontext()

    def at(self, moment: str, live: Prepare) -> Prepare:
        """Return what brings back what was when *moment* was asked for first, and calls *live*."""
        keeper = self.keeper
        bucket, cache = f"{keeper.name}-{moment}", keeper.directory / moment

        def prepare() -> AbstractContextManager[object]:
            self._trash.empty()
            if bucket in self._kept:
                self._server.copy(bucket, keeper.name)
                self._forget()
                shutil.copytree(cache, keeper.cache, dirs_exist_ok=True)
            else:
                self._server.copy(keeper.name, bucket)
                shutil.copytree(keeper.cache, cache)
                self._kept.add(bucket)
            return live()

        return prepare

    def entry(self, command: Command, surroundings: Prepare, check: Callable[[], bool]) -> Entry:
        """Return what is to be done: a *command* of the keeper."""
        keeper, server = self.keeper, self._server
        return Entry(
            name=keeper.name,
            command=(*keeper.call(server.direct), *command),
            surroundings=surroundings,
            check=check,
            counting=Counting(
                command=(*keeper.call(server.counted), *command), number=server.number
            ),
        )

    def stores_something(self) -> bool:
        """Say how much the bucket has."""
        size = self._server.size(self.keeper.name)
        _tell(f"    {self.keeper.name}: the bucket has {size / 1e6:.1f} MB")
        return size > 0

    def _forget(self) -> None:
        if self.keeper.cache.exists():
            self._trash.take(self.keeper.cache)
        self.keeper.cache.mkdir()


def works(every: Sequence[BucketMoments], states: States) -> Iterator[Work]:
    """Yield the works, in the order in which they stand on each other."""
    for name, title, goal, prepare in (
        (
            "first",
            "first backup",
            Goal(times=1, megabytes=MEMORY),
            [each.empty for each in every],
        ),
        (
            "nothing",
            "nothing changed",
            Goal(operations=6, megabytes=MEMORY),
            [each.at("first", _live(states, YESTERDAY)) for each in every],
        ),
        (
            "day",
            "after a day",
            Goal(operations=39, megabytes=MEMORY),
            [each.at("first", _live(states, DAY)) for each in every],
        ),
    ):
        yield Work(
            name=f"bucket-{name}",
            title=title,
            goal=goal,
            stood_on=name != "nothing",
            entries=[
                each.entry(each.keeper.back_up, surroundings, each.stores_something)
                for each, surroundings in zip(every, prepare, strict=True)
            ],
        )
    yield Work(
        name="bucket-restore",
        title="restore into the empty",
        goal=Goal(times=1.5, megabytes=MEMORY),
        entries=[
            each.entry(each.keeper.restore, each.at("day", states.lost), states.is_the_day)
            for each in every
        ],
    )


def _live(states: States, state: str) -> Prepare:
    def switch() -> AbstractContextManager[object]:
        states.switch(state, index=state)
        return nullcontext()

    return switch


def measured(scratch: Path, states: States, plan: Plan) -> list[Row]:
    """Return what was measured of the works of *plan*; restic must be there."""
    planned = [f"bucket-{name}" for name in ("first", "nothing", "day", "restore")]
    restic = shutil.which("restic")
    if restic is None or not any(map(plan.names, planned)):
        return []
    directory = scratch / "buckets"
    shutil.rmtree(directory, ignore_errors=True)
    found = [ours(directory / "ours", states), of_restic(restic, directory / "restic", states)]
    (directory / "restic").mkdir()
    trash = Trash(directory / "trash")
    with running(directory / "server") as server:
        every = [BucketMoments(each, server, states, trash) for each in found]
        rows = list(plan.carry_out(works(every, states)))
    trash.empty()
    return rows


def main() -> int:
    """Measure, print the table, and return 0 if all goals were reached."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.buckets")
    parser.add_argument("--scratch", type=Path, required=True, metavar="DIRECTORY")
    parser.add_argument("--size", type=int, default=300, help="MB of Data.fs (%(default)s)")
    parser.add_argument("--blobs", type=int, default=10_000, help="number of blobs (%(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="turns of each (%(default)s)")
    parser.add_argument("--only", nargs="*", default=[], metavar="WORK", help="patterns")
    given = parser.parse_args()
    if shutil.which("restic") is None:
        parser.error("restic is not here")
    scratch = given.scratch.resolve()
    compile_ours()
    states = made(scratch, given.size, given.blobs, _tell)
    logs = scratch / "logs"
    logs.mkdir(exist_ok=True)
    plan = Plan(only=given.only, rounds=given.rounds, calls=False, logs=logs, tell=_tell)
    rows = measured(scratch, states, plan)
    print(table(TITLE, rows, calls=False), flush=True)
    states.trash.empty()
    return 0 if all(map(is_reached, rows)) else 1


def _tell(words: str) -> None:
    print(words, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
