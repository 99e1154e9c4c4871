"""A store in memory, for tests: its objects are lost when the process ends."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from datetime import datetime

from collective.recipe.backup import times
from collective.recipe.backup.stores import (
    Buffer,
    NoSuchObject,
    ObjectExists,
    Promises,
    StoredObject,
    Views,
    Weakness,
    checked,
)


class MemoryStore:
    """A store whose objects are in a dict; *clock* says what time it is there."""

    promises = Promises(parallel=1, gap=1 << 16)

    def __init__(self, clock: Callable[[], datetime] = times.utcnow) -> None:
        self.location = "memory"
        self.objects: dict[str, tuple[bytes, datetime]] = {}
        self._clock = clock
        self._lock = threading.Lock()

    def prepare(self) -> None:
        """Do nothing: the place is there."""

    def put(self, name: str, data: Buffer, *, bulk: bool = False) -> datetime:  # noqa: ARG002  protocol
        """Keep a copy of *data*."""
        checked(name)
        with self._lock:
            if name in self.objects:
                raise ObjectExists(name)
            moment = self._clock()
            self.objects[name] = bytes(data), moment
        return moment

    def get(self, name: str, start: int = 0, size: int | None = None) -> bytes:
        """Return a copy."""
        checked(name)
        try:
            data, _moment = self.objects[name]
        except KeyError:
            raise NoSuchObject(name) from None
        end = len(data) if size is None else start + size
        if end > len(data) or start > len(data):
            raise NoSuchObject(f"{name} has {len(data)} bytes")
        return data[start:end]

    def list(self, prefix: str = "") -> Iterator[StoredObject]:
        """Yield the objects that are there now."""
        with self._lock:
            found = sorted(self.objects.items())
        for name, (data, moment) in found:
            if name.startswith(prefix):
                yield StoredObject(name, len(data), moment)

    def delete(self, name: str) -> None:
        """Forget the object."""
        checked(name)
        with self._lock:
            self.objects.pop(name, None)

    def sweep(self) -> None:
        """Do nothing: a put leaves nothing half done."""

    def care(self, *, mend: bool = False) -> Iterator[Weakness]:  # noqa: ARG002  protocol
        """Yield nothing: an object is whole, or it is not there."""
        return iter(())

    def show(self, views: Views, *, anew: bool = False) -> None:
        """Do nothing: objects are seen by their names."""

    def clock(self) -> datetime:
        """Return what the clock says."""
        return self._clock()

    def close(self) -> None:
        """Do nothing: the caller may use the store again."""
