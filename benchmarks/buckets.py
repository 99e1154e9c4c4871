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
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.keepers import PASSPHRASE, Command, configuration, paths_of
from benchmarks.measuring import Trash, take
from benchmarks.states import DAY, YESTERDAY, States, made
from benchmarks.tables import is_reached, table
from benchmarks.works import Counting, Entry, Goal, Plan, Work
from collective.recipe.backup.tests.servers import (
    KEEPER,
    SECRET,
    Proxy,
    end,
    keeper,
    proxied,
    start_weed,
)

MEMORY = 200
"""MB that any work may take."""

_VOLUMES = 400
"""Files in which the server keeps what it has: a bucket takes seven, and one for 64 MB."""

Prepare = Callable[[], AbstractContextManager[object]]


class Server:
    """The server at *port*, with a *proxy* before it that counts."""

    def __init__(self, port: int, proxy: Proxy) -> None:
        self.direct = f"http://127.0.0.1:{port}"
        self.counted = f"http://127.0.0.1:{proxy.port}"
        self._proxy = proxy
        self._client = keeper(port)

    def number(self) -> int:
        """Return how many requests went through the proxy since this was asked last."""
        number = len(self._proxy.asked)
        self._proxy.asked.clear()
        return number

    def make(self, bucket: str) -> None:
        """Make an empty *bucket*, in the place of one of that name."""
        with suppress(self._client.exceptions.NoSuchBucket):
            for key in self._keys(bucket):
                self._client.delete_object(Bucket=bucket, Key=key)
            self._client.delete_bucket(Bucket=bucket)
        self._client.create_bucket(Bucket=bucket)

    def copy(self, source: str, target: str) -> None:
        """Make the bucket *target* with all that *source* has."""
        self.make(target)
        for key in self._keys(source):
            there: dict[str, Any] = {"Bucket": source, "Key": key}
            self._client.copy_object(CopySource=there, Bucket=target, Key=key)

    def size(self, bucket: str) -> int:
        """Return the bytes of all that a bucket has."""
        return sum(each["Size"] for each in self._listed(bucket))

    def _keys(self, bucket: str) -> list[str]:
        return [each["Key"] for each in self._listed(bucket)]

    def _listed(self, bucket: str) -> list[dict[str, Any]]:
        pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=bucket)
        return [each for page in pages for each in page.get("Contents", ())]


@contextmanager
def running(directory: Path) -> Iterator[Server]:
    """Run a server with its data in *directory*, which is made, during the body."""
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    started = start_weed(directory, volumes=_VOLUMES)
    try:
        with proxied(started.port) as proxy:
            yield Server(started.port, proxy)
    finally:
        end(started)
        shutil.rmtree(directory)


@dataclass(frozen=True, kw_only=True)
class BucketKeeper:
    """A program that backs a site up to the bucket that has its *name*."""

    name: str
    directory: Path  # what it has on this machine
    call: Callable[[str], Command]  # its first words; given the endpoint
    make: Command
    back_up: Command
    restore: Command  # the last restore point, over what is live

    @property
    def cache(self) -> Path:
        """Where the host remembers what it knows of the repository."""
        return self.directory / "cache"


def _ours(directory: Path, states: States) -> BucketKeeper:
    made = configuration(directory, states, "s3://ours/benchmark")
    configured = ("--quiet", "--config", made)
    program = Path(sys.executable).with_name("sitebackup")
    return BucketKeeper(
        name="ours",
        directory=directory,
        call=lambda endpoint: ("env", *_credentials(), f"AWS_ENDPOINT_URL={endpoint}", program),
        make=("repository", "init", *configured),
        back_up=("backup", *configured),
        restore=("restore", "--no-prompt", "--from", "repository", *configured),
    )


def _of_restic(program: str, directory: Path, states: States) -> BucketKeeper:
    def call(endpoint: str) -> Command:
        return (
            *("env", "-C", str(states.var), *_credentials(), f"RESTIC_PASSWORD={PASSPHRASE}"),
            f"RESTIC_REPOSITORY=s3:{endpoint}/restic/benchmark",
            *(program, "--quiet", "--cache-dir", directory / "cache"),
        )

    return BucketKeeper(
        name="restic",
        directory=directory,
        call=call,
        make=("init",),
        back_up=("backup", *paths_of(states)),
        restore=("restore", "latest", "--target", "."),
    )


def _credentials() -> Sequence[str]:
    return (
        f"AWS_ACCESS_KEY_ID={KEEPER}",
        f"AWS_SECRET_ACCESS_KEY={SECRET}",
        "AWS_DEFAULT_REGION=us-east-1",
    )


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


def main() -> int:
    """Measure, print the table, and return 0 if all goals were reached."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.buckets")
    parser.add_argument("--scratch", type=Path, required=True, metavar="DIRECTORY")
    parser.add_argument("--size", type=int, default=300, help="MB of Data.fs (%(default)s)")
    parser.add_argument("--blobs", type=int, default=10_000, help="number of blobs (%(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="turns of each (%(default)s)")
    parser.add_argument("--only", nargs="*", default=[], metavar="WORK", help="patterns")
    given = parser.parse_args()
    restic = shutil.which("restic")
    if restic is None:
        parser.error("restic is not here")
    scratch = given.scratch.resolve()
    states = made(scratch, given.size, given.blobs, _tell)
    directory = scratch / "buckets"
    shutil.rmtree(directory, ignore_errors=True)
    found = [
        _ours(directory / "ours", states),
        _of_restic(restic, directory / "restic", states),
    ]
    (directory / "restic").mkdir()
    (directory / "logs").mkdir()
    plan = Plan(
        only=given.only, rounds=given.rounds, calls=False, logs=directory / "logs", tell=_tell
    )
    trash = Trash(directory / "trash")
    with running(directory / "server") as server:
        every = [BucketMoments(each, server, states, trash) for each in found]
        rows = list(plan.carry_out(works(every, states)))
    print(table("Encrypted repositories in a bucket", rows, calls=False), flush=True)
    for each in (states.trash, trash):
        each.empty()
    return 0 if all(map(is_reached, rows)) else 1


def _tell(words: str) -> None:
    print(words, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
