"""Faults of a store as ordinary input; see ``harness`` for those of a disk.

::

    BEFORE    the process dies before the operation
    AFTER     the process dies after it
    ERROR     the operation fails, and nothing was done
    LOST      it was done, but the answer did not come
    REFUSED   a put was not done, and the store says that there is such an object
    TWICE     a put was done, and the store says that there is such an object: it was asked twice
"""

from __future__ import annotations

import enum
import itertools
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, timedelta
from typing import Any, TypeVar

from collective.recipe.backup.errors import BackupError, StoreUnreachable
from collective.recipe.backup.stores import (
    Buffer,
    ObjectExists,
    Store,
    StoredObject,
    Views,
    Weakness,
)
from collective.recipe.backup.tests.faults.harness import Crash

World = TypeVar("World")


class StoreFault(enum.Enum):
    """What goes wrong; see the docstring of the module."""

    BEFORE = enum.auto()
    AFTER = enum.auto()
    ERROR = enum.auto()
    LOST = enum.auto()
    REFUSED = enum.auto()
    TWICE = enum.auto()


DEATHS = {StoreFault.BEFORE, StoreFault.AFTER}
OF_PUTS = {StoreFault.REFUSED, StoreFault.TWICE}
OF_CHANGES = {StoreFault.AFTER, StoreFault.LOST}
"""What makes a difference only where something was changed."""


class FaultyStore:
    """The store *inner*, whose operation number *at* (from 1) goes wrong.

    Without a *fault* it counts only: ``asked`` has the operations with their names.
    """

    def __init__(self, inner: Store, fault: StoreFault | None = None, at: int = 0) -> None:
        self.inner = inner
        self.location = inner.location
        self.promises = inner.promises
        self.fault = fault
        self.at = at
        self.asked: list[tuple[str, str]] = []
        self.struck: tuple[str, str] | None = None
        self._counted = 0
        self._lock = threading.RLock()

    def counted(self) -> Counter[str]:
        return Counter(operation for operation, _name in self.asked)

    def _do(self, operation: str, name: str, function: Callable[[], Any]) -> Any:
        with self._lock:
            if self.struck and self.fault in DEATHS:
                raise Crash(f"{operation} {name} by a process that is dead")
            self.asked.append((operation, name))
            self._counted += self._matters(operation)
            if self.fault is None or self.struck or self._counted != self.at:
                return function()
            self.struck = operation, name
            return self._strike(operation, name, function)

    def _matters(self, operation: str) -> bool:
        if self.fault in OF_PUTS:
            return operation == "put"
        return self.fault not in OF_CHANGES or operation in {"put", "delete"}

    def _strike(self, operation: str, name: str, function: Callable[[], Any]) -> Any:
        if self.fault in {StoreFault.AFTER, StoreFault.LOST, StoreFault.TWICE}:
            function()
        if self.fault in DEATHS:
            raise Crash(f"{self.fault.name} {operation} {name}")
        if self.fault in OF_PUTS:
            raise ObjectExists(name)
        raise StoreUnreachable(f"the network broke at {operation}", where=name)

    def prepare(self) -> None:
        self._do("prepare", "", self.inner.prepare)

    def put(self, name: str, data: Buffer, *, bulk: bool = False) -> datetime:
        return self._do("put", name, lambda: self.inner.put(name, data, bulk=bulk))

    def get(self, name: str, start: int = 0, size: int | None = None) -> bytes:
        return self._do("get", name, lambda: self.inner.get(name, start, size))

    def list(self, prefix: str = "") -> Iterator[StoredObject]:
        return iter(self._do("list", prefix, lambda: list(self.inner.list(prefix))))

    def delete(self, name: str) -> None:
        self._do("delete", name, lambda: self.inner.delete(name))

    def sweep(self) -> None:
        self._do("sweep", "", self.inner.sweep)

    def care(self, *, mend: bool = False) -> Iterator[Weakness]:
        return iter(self._do("care", "", lambda: list(self.inner.care(mend=mend))))

    def show(self, views: Views, *, anew: bool = False) -> None:
        self._do("show", "", lambda: self.inner.show(views, anew=anew))

    def clock(self) -> datetime:
        return self._do("clock", "", self.inner.clock)

    def close(self) -> None:
        self.inner.close()


def every_store_fault(
    make: Callable[[], tuple[World, Store]],
    act: Callable[[World, Store], object],
    faults: Iterable[StoreFault] = tuple(StoreFault),
) -> Iterator[tuple[World, BaseException | None, str]]:
    """Run *act* on a new world once for each fault at each operation.

    Yields the world as it was left, what *act* raised (None: it returned all the same) and
    words that say which fault it was.
    """
    for fault in faults:
        for at in itertools.count(1):
            world, inner = make()
            store = FaultyStore(inner, fault, at)
            outcome: BaseException | None = None
            try:
                act(world, store)
            except (Crash, BackupError) as error:
                outcome = error
            if not store.struck:
                if outcome is not None:
                    raise outcome
                assert at > 1 or fault in {*OF_PUTS, *OF_CHANGES}, "it asks the store for nothing"
                break
            assert fault not in DEATHS or isinstance(outcome, Crash), "it survived its death"
            operation, name = store.struck
            yield world, outcome, f"{fault.name} at {operation} {at}: {name[:40]}"


def survive_every_store_fault(
    make: Callable[[], tuple[World, Store]],
    act: Callable[[World, Store], object],
    check: Callable[[World, BaseException | None], object],
    faults: Iterable[StoreFault] = tuple(StoreFault),
) -> int:
    """Call *check* after each fault; return how many there were.  A check that fails names it."""
    count = 0
    for world, outcome, fault in every_store_fault(make, act, faults):
        count += 1
        try:
            check(world, outcome)
        except Exception as error:
            raise AssertionError(f"after {fault}: {type(error).__name__}: {error}") from error
    return count


class Age:
    """A time that passes between the runs of a test, for a store whose own clock stands still."""

    def __init__(self) -> None:
        self.passed = timedelta(0)
        self.since: dict[str, timedelta] = {}  # what had passed when an object was put

    def go_on(self, **amount: float) -> None:
        self.passed += timedelta(**amount)


class AgedStore(FaultyStore):
    """The store *inner*, in which *age* passes: objects grow older, and its clock goes on."""

    def __init__(self, inner: Store, age: Age) -> None:
        super().__init__(inner)
        self._age = age

    def put(self, name: str, data: Buffer, *, bulk: bool = False) -> datetime:
        since = self._age.since.setdefault(name, self._age.passed)
        return super().put(name, data, bulk=bulk) + since

    def list(self, prefix: str = "") -> Iterator[StoredObject]:
        for each in super().list(prefix):
            since = self._age.since.get(each.name, timedelta(0))
            yield each._replace(stored=each.stored + since)

    def delete(self, name: str) -> None:
        super().delete(name)
        self._age.since.pop(name, None)

    def clock(self) -> datetime:
        return super().clock() + self._age.passed

    def _do(self, operation: str, name: str, function: Callable[[], Any]) -> Any:
        return function()  # the way to the server breaks, not this


class MeddledStore(FaultyStore):
    """The store *inner*, where others do something between two operations.

    *meddle* has what is done before the operation with a number, from 1.
    """

    def __init__(self, inner: Store, meddle: dict[int, Callable[[], object]]) -> None:
        super().__init__(inner)
        self._meddle = dict(meddle)

    def _do(self, operation: str, name: str, function: Callable[[], Any]) -> Any:
        with self._lock:
            self._counted += 1
            others = self._meddle.pop(self._counted, None)
            if others:
                others()
            return super()._do(operation, name, function)

    def _matters(self, operation: str) -> bool:
        return False
