"""A store in a bucket.

A put is two requests: a PUT with ``If-None-Match: *``, and one that asks for the time at which the
object was made. obstore repeats requests that fail for a moment (5xx, a connection that breaks,
throttling), with growing pauses, until ``Patience.retry`` is over.  It does not repeat a put whose
outcome is unknown; the caller reads the object to learn the outcome.

There are two clients. The one that reads, and puts what is small, gives up a server that is silent
for a while. The one that puts bundles cannot be as strict, because no answer comes while the object
is on its way. Both give up a connection over which no byte gets through for half a minute: the
library asks the system for that.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from typing import TYPE_CHECKING

from collective.recipe.backup.errors import StoreUnreachable
from collective.recipe.backup.stores import (
    Buffer,
    NoSuchObject,
    ObjectExists,
    Promises,
    StoredObject,
    Views,
    Weakness,
    checked,
    is_name,
)
from collective.recipe.backup.stores.allowance import Allowance
from collective.recipe.backup.stores.buckets.bucketanswers import (
    explained_answer,
    is_without_bucket,
    no_bucket,
    no_store,
    status_of,
)
from collective.recipe.backup.stores.buckets.bucketplace import BucketPlace
from collective.recipe.backup.stores.buckets.httpdate import date_of

if TYPE_CHECKING:
    from obstore import GetOptions, GetResult, ObjectMeta
    from obstore.store import ObjectStore

    Page = Sequence[ObjectMeta]

_WRITE = "cannot write to the repository"
_READ = "cannot read the repository"
_LIST = "cannot list the repository"
_REMOVE = "cannot remove from the repository"

_PAGES = {"text/html", "application/xhtml+xml", "text/xml", "application/xml"}
"""Content types of pages: an answer that has one does not come from a store.

Networks that want a login answer each request with a page of their own.
"""

_ARCHIVES = {"GLACIER", "DEEP_ARCHIVE"}
"""Classes of storage of S3 whose objects have to be asked for before they can be read."""

_SMALL = 1 << 18
"""Bytes that are sent within the patience for an answer, even over a line of 64 kbit/s."""

_MOST = 1 << 30
"""Bytes of an object, or of a range: a bundle has some dozens of megabytes."""

_PIECE = 8 << 20
"""Bytes that are taken over at once: of most ranges that is all."""

_OF_A_PAGE = 1000
"""Entries of a listing that obstore hands over at once."""


class BucketStore:
    """The store below the prefix of a bucket; *place* says which, and how to reach it."""

    def __init__(self, place: BucketPlace, allowance: Allowance | None = None) -> None:
        self.location = place.location
        self._allowance = allowance or Allowance()
        self._place = place
        self.promises = Promises(parallel=3, gap=1 << 20, cold=place.bulk_class in _ARCHIVES)
        self._clients: tuple[ObjectStore, ObjectStore] | None = None

    def prepare(self) -> None:
        """Do nothing: a bucket is made by its owner, and a prefix comes with its first object."""

    def put(self, name: str, data: Buffer, *, bulk: bool = False) -> datetime:
        """Send the object, and ask when it came to be."""
        from obstore import put
        from obstore.exceptions import AlreadyExistsError

        checked(name)
        kind = self._place.bulk_class if bulk else ""
        self._allowance.ask(2)  # both, so that none is sent in vain
        self._allowance.move(len(data))
        with self._told(_WRITE):
            try:
                put(
                    self._writing if len(data) > _SMALL else self._reading,
                    name,
                    data,
                    mode="create",
                    use_multipart=False,
                    attributes={"Storage-Class": kind} if kind else None,
                )
            except AlreadyExistsError as error:
                raise ObjectExists(name) from error
            except FileNotFoundError as error:
                raise no_bucket(_WRITE, self.location) from error
            entry = self._entry(name)
            if entry.size != len(data):
                raise no_store(_WRITE, self.location)
            return entry.stored

    def get(self, name: str, start: int = 0, size: int | None = None) -> bytes:
        """Read an object, or a range of it."""
        checked(name)
        with self._told(_READ):
            if size == 0:
                return self._nothing(name, start)
            try:
                data = self._bytes(name, start, size)
            except FileNotFoundError as error:
                if is_without_bucket(error):
                    raise no_bucket(_READ, self.location) from error
                raise NoSuchObject(name) from error
        return data

    def list(self, prefix: str = "") -> Iterator[StoredObject]:
        """Ask for what lies in the directory of *prefix*, and leave out the rest of it."""
        from obstore import list as listing

        above = prefix.rpartition("/")[0]
        with self._told(_LIST):
            # not every store sorts
            found = sorted(
                StoredObject(each["path"], each["size"], each["last_modified"])
                for page in self._counted(
                    listing(self._reading, above or None, chunk_size=_OF_A_PAGE)
                )
                for each in page
                if each["path"].startswith(prefix) and is_name(each["path"])
            )
            if not found:
                self._must_be_a_store()
        yield from found

    def delete(self, name: str) -> None:
        """Remove an object."""
        from obstore import delete

        checked(name)
        self._allowance.ask()
        with self._told(_REMOVE):
            try:
                delete(self._reading, name)
            except FileNotFoundError as error:
                if is_without_bucket(error):
                    raise no_bucket(_REMOVE, self.location) from error

    def sweep(self) -> None:
        """Do nothing: a put that died has left nothing."""

    def care(self, *, mend: bool = False) -> Iterator[Weakness]:  # noqa: ARG002  protocol
        """Yield nothing: how often an object is kept is the matter of the server."""
        return iter(())

    def show(self, views: Views, *, anew: bool = False) -> None:
        """Do nothing: objects are seen by their names."""

    def clock(self) -> datetime:
        """Ask the server; its answer has a date."""
        self._allowance.ask()
        return date_of(self._place.clock)

    def close(self) -> None:
        """Let the connections go."""
        self._clients = None

    @property
    def _reading(self) -> ObjectStore:
        return self._both()[0]

    @property
    def _writing(self) -> ObjectStore:
        return self._both()[1]

    def _both(self) -> tuple[ObjectStore, ObjectStore]:
        clients = self._clients
        if clients is None:
            self._clients = clients = self._place.reading(), self._place.writing()
        return clients

    def _entry(self, name: str) -> StoredObject:
        """Return what the store says of an object.  Raises FileNotFoundError."""
        from obstore import head

        found = head(self._reading, name)
        return StoredObject(name, found["size"], found["last_modified"])

    def _version(self, name: str) -> str | None:  # noqa: ARG002  for one of another moment
        """Return which version of an object is read; None: the present one."""
        return None

    def _nothing(self, name: str, start: int) -> bytes:
        """Return no bytes, if the object reaches to *start*."""
        self._allowance.ask()
        try:
            there = self._entry(name).size
        except FileNotFoundError as error:
            raise NoSuchObject(name) from error
        if start > there:
            raise NoSuchObject(f"{name} has {there} bytes")
        return b""

    def _options(self, name: str, start: int, size: int | None) -> GetOptions:
        """Return what of an object is to be read."""
        options: GetOptions = {}
        version = self._version(name)
        if version is not None:
            options["version"] = version
        if size is not None:
            options["range"] = start, start + size
        elif start:
            options["range"] = {"offset": start}
        return options

    def _bytes(self, name: str, start: int, size: int | None) -> bytes:
        from obstore import get
        from obstore.exceptions import BaseError

        options = self._options(name, start, size)
        self._allowance.ask()
        try:
            found = get(self._reading, name, options=options)
            if found.attributes.get("Content-Type", "").partition(";")[0] in _PAGES:
                raise no_store(_READ, self.location)
            whole = found.meta["size"] - start
            data = self._moved(found, whole if size is None else size)
        except BaseError as error:
            if status_of(error) != 416:
                raise
            # nothing is asked for beyond the end where nothing has to be there
            if size is None:
                return self._nothing(name, start)
            raise NoSuchObject(f"{name} is shorter") from error
        if size is not None and len(data) < size:
            raise NoSuchObject(f"{name} is shorter")
        if size is None and len(data) != whole:
            raise StoreUnreachable(
                "the answer of the store is not as long as it says", where=self.location
            )
        return data

    def _moved(self, found: GetResult, size: int) -> bytes:
        """Read the *size* bytes that are to be got, as quickly as is allowed.

        Raises StoreUnreachable if there are more, or if they are more than any object has.
        """
        piece = self._allowance.piece
        pieces, rest = [], size
        for each in found.stream(min_chunk_size=piece or _PIECE) if size <= _MOST else ():
            if piece is not None:
                self._allowance.move(len(each))
            pieces.append(bytes(each))
            rest -= len(each)
            if rest < 0:
                break
        if rest < 0 or size > _MOST:
            raise no_store(_READ, self.location)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _must_be_a_store(self) -> None:
        """Raise StoreUnreachable where what is asked for an object that cannot be there has it.

        Any page in XML is taken for an empty listing.
        """
        self._allowance.ask()
        with suppress(FileNotFoundError):
            BucketStore._entry(self, f"check/{os.urandom(8).hex()}")
            raise no_store(_LIST, self.location)

    def _counted(self, pages: Iterator[Page]) -> Iterator[Page]:
        """Yield *pages*, each of which is a request."""
        self._allowance.ask()
        for page in pages:
            yield page
            if len(page) >= _OF_A_PAGE:
                self._allowance.ask()

    @contextmanager
    def _told(self, what: str) -> Iterator[None]:
        from obstore.exceptions import BaseError

        try:
            yield
        except (BaseError, OSError, ValueError) as error:
            raise explained_answer(error, what, self.location) from error
