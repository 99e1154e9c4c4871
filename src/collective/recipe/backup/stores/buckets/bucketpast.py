"""A bucket that keeps versions, as it was at a moment.  Nothing can be changed there."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import datetime

from collective.recipe.backup import times
from collective.recipe.backup.errors import StoreRefused
from collective.recipe.backup.stores import Buffer, StoredObject, checked
from collective.recipe.backup.stores.allowance import Allowance
from collective.recipe.backup.stores.buckets.bucketplace import BucketPlace
from collective.recipe.backup.stores.buckets.bucketstore import BucketStore
from collective.recipe.backup.stores.buckets.bucketversions import Version, versions_at


class PastBucket(BucketStore):
    """The store of *place* as it was at the *moment*; it is listed once, when it is first read."""

    def __init__(
        self, place: BucketPlace, moment: datetime, allowance: Allowance | None = None
    ) -> None:
        super().__init__(place, allowance)
        self._moment = moment
        self._listing = threading.Lock()
        self._versions: dict[str, Version] | None = None

    def put(self, name: str, data: Buffer, *, bulk: bool = False) -> datetime:  # noqa: ARG002  protocol
        """Refuse."""
        checked(name)
        raise self._refusal()

    def list(self, prefix: str = "") -> Iterator[StoredObject]:
        """Yield what was there."""
        for name, each in sorted(self._at_the_moment().items()):
            if name.startswith(prefix):
                yield each.entry

    def delete(self, name: str) -> None:
        """Refuse."""
        checked(name)
        raise self._refusal()

    def _entry(self, name: str) -> StoredObject:
        found = self._at_the_moment().get(name)
        if found is None:
            raise FileNotFoundError(name)
        return found.entry

    def _version(self, name: str) -> str | None:
        self._entry(name)
        return self._at_the_moment()[name].version

    def _at_the_moment(self) -> dict[str, Version]:
        with self._listing:
            if self._versions is None:
                self._versions = versions_at(self._place, self._moment, self._allowance.ask)
            return self._versions

    def _refusal(self) -> StoreRefused:
        return StoreRefused(
            f"the state of {times.in_words(self._moment)} cannot be changed",
            where=self.location,
            hint="leave out --as-of; what is to stay can be restored, or copied elsewhere",
        )
