"""Trial of a store: does it do what a repository needs?  The trial puts small objects there.

All of them lie below ``check/`` and a random word, and go in the end if the credential may
remove them.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta

from collective.recipe.backup.amounts import duration, number_of, size
from collective.recipe.backup.errors import StoreRefused, StoreUnreachable
from collective.recipe.backup.findings import Report
from collective.recipe.backup.stores import (
    CHECK,
    Buffer,
    NoSuchObject,
    ObjectExists,
    Store,
    StoredObject,
    Views,
    Weakness,
)
from collective.recipe.backup.times import monotonic

_RACING = 8
_LARGE = 8 << 20
_SLACK = timedelta(seconds=2)
"""The most by which a store may round its times."""

_WRONG_CLOCK = timedelta(minutes=5)


def prove(store: Store, now: datetime) -> Report:
    """Return which promises of the contract *store* keeps; *now* is by our clock.

    Raises the error of the store if the store cannot be asked at all.
    """
    report = Report("store")
    place = f"{CHECK}/{os.urandom(8).hex()}"
    store = counting = _Counting(store)
    try:
        _objects(store, f"{place}/a", report)
        _racing(store, f"{place}/race", report)
        _time(store, f"{place}/time", now, report)
        _pace(store, f"{place}/large", report)
    except StoreUnreachable:
        # who waited for it once need not do so again: what it has by now stays below the place
        raise
    except BaseException:
        _removing(store, place, report)
        raise
    _removing(store, place, report)
    report.ok(f"it was asked {counting}")
    return report


class _Counting:
    """A store, and how often it was asked for what."""

    def __init__(self, store: Store) -> None:
        self.location, self.promises = store.location, store.promises
        self._store = store
        self._asked: Counter[str] = Counter()

    def __str__(self) -> str:
        return ", ".join(
            f"{what} {number_of(count, 'time')}" for what, count in self._asked.items()
        )

    def prepare(self) -> None:
        self._store.prepare()

    def put(self, name: str, data: Buffer, *, bulk: bool = False) -> datetime:
        self._asked["to put"] += 1
        return self._store.put(name, data, bulk=bulk)

    def get(self, name: str, start: int = 0, size: int | None = None) -> bytes:
        self._asked["to get"] += 1
        return self._store.get(name, start, size)

    def list(self, prefix: str = "") -> Iterator[StoredObject]:
        self._asked["to list"] += 1
        return self._store.list(prefix)

    def delete(self, name: str) -> None:
        self._asked["to remove"] += 1
        self._store.delete(name)

    def sweep(self) -> None:
        self._store.sweep()

    def care(self, *, mend: bool = False) -> Iterator[Weakness]:
        return self._store.care(mend=mend)

    def show(self, views: Views, *, anew: bool = False) -> None:
        self._store.show(views, anew=anew)

    def clock(self) -> datetime:
        self._asked["for the time"] += 1
        return self._store.clock()

    def close(self) -> None:
        self._store.close()


def _objects(store: Store, name: str, report: Report) -> None:
    data = os.urandom(1000)
    stored = store.put(name, data)
    entries = [each for each in store.list(name) if each.name == name]
    try:
        same = store.get(name) == data and store.get(name, 100, 200) == data[100:300]
    except NoSuchObject:
        same = False
    if not same:
        report.problem("what was put is not what is got", hint="use another store")
    elif not entries:
        report.problem(
            "a listing lacks what was put just now",
            hint="runs at the same time would not see each other: use another store",
        )
    elif (entries[0].size, entries[0].stored) != (len(data), stored):
        report.problem("a listing has another size or time than the object")
    else:
        report.ok("what was put is listed, and got, whole and in part")
    _once(store, name, data, report)


def _once(store: Store, name: str, data: bytes, report: Report) -> None:
    try:
        store.put(name, b"other")
    except ObjectExists:
        if store.get(name) == data:
            report.ok("an object is never replaced")
            return
    report.warning(
        "an object is replaced by another put of its name: the store ignores the condition",
        hint="a credential that may only add protects from nothing here; keep versions in the "
        "store, and run init from one machine only",
    )


def _racing(store: Store, name: str, report: Report) -> None:
    def put(number: int) -> bool:
        try:
            store.put(name, b"%d" % number * 1000)
        except ObjectExists:
            return False
        return True

    with ThreadPoolExecutor(_RACING) as threads:
        won = sum(threads.map(put, range(_RACING)))
    if won == 1:
        report.ok(f"of {_RACING} puts of a name at the same moment one succeeds")
    else:
        report.warning(
            f"of {_RACING} puts of a name at the same moment {won} succeed",
            hint="objects are named by their contents, so nothing is lost; run init from one "
            "machine only",
        )


def _time(store: Store, name: str, now: datetime, report: Report) -> None:
    before = store.clock()
    stored = store.put(name, b"")
    after = store.clock()
    if not before - _SLACK <= stored <= after + _SLACK:
        report.problem(
            "the store says one time in its answers and another one of its objects",
            hint="collect goes by both: use another store",
        )
    off = before - now
    if abs(off) > _WRONG_CLOCK:
        words = "ahead of" if off > timedelta() else "behind"
        report.warning(
            f"the clock of the store is {duration(abs(off).total_seconds())} {words} this machine",
            hint="set the clock that is wrong; retention goes by the earlier of both",
        )
    else:
        report.ok("the clocks of the store and of this machine agree")


def _pace(store: Store, name: str, report: Report) -> None:
    data = os.urandom(_LARGE)
    began = monotonic()
    store.put(name, data)
    put = monotonic()
    store.get(name)
    got = monotonic()
    report.ok(
        f"{size(_LARGE / (put - began))} a second to it, {size(_LARGE / (got - put))} from it"
    )


def _removing(store: Store, place: str, report: Report) -> None:
    names = [each.name for each in store.list(f"{place}/")]
    try:
        for name in names:
            store.delete(name)
    except StoreRefused:
        report.warning(
            f"this credential may not remove; {len(names)} small objects stay below {place}",
            hint="backups need no more; run prune and collect with another credential",
        )
        return
    if any(True for _each in store.list(f"{place}/")):
        report.problem(
            "a listing has what was removed",
            hint="look again later; if it stays so, use another store",
        )
    else:
        report.ok("what is removed is gone")
    store.sweep()
