"""The contents of restore points, path by path: listed, or passed on with their bytes.

::

    filestorage/Data.fs     the filestorage, whatever its name is
    blobstorage/...         the blobs, as ZODB lays them out, and what lay beside them
    files/...               further files, with their whole paths

Of an additional storage called NAME they are ``filestorage-NAME`` and ``blobstorage-NAME``.
Changes nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import NamedTuple

from collective.recipe.backup import times
from collective.recipe.backup.blobs.layout import MARKER, Kind
from collective.recipe.backup.blobs.storedblobs import StoredBlobs, StoredContents, StoredFile
from collective.recipe.backup.destinations import Destination
from collective.recipe.backup.errors import UsageError
from collective.recipe.backup.frozen import dataclass
from collective.recipe.backup.furtherfiles import FileSort, FurtherFile
from collective.recipe.backup.model import BLOBSTORAGE, FILESTORAGE, MAIN
from collective.recipe.backup.operations import missingdisk
from collective.recipe.backup.operations.announcing import described
from collective.recipe.backup.operations.choosing import alternative_named, choice_of
from collective.recipe.backup.operations.run import Run
from collective.recipe.backup.progress import ignore
from collective.recipe.backup.states import State
from collective.recipe.backup.times import When

logger = logging.getLogger("backup")

FILES = "files"
_SORTS = {Kind.DIRECTORY: FileSort.DIRECTORY, Kind.LINK: FileSort.LINK}
_PRIVATE = {FileSort.FILE: 0o600, FileSort.DIRECTORY: 0o700, FileSort.LINK: 0o777}
"""Permissions of files whose own permissions no destination knows."""


class InventoryItem(NamedTuple):
    """A file, a directory or a symbolic link in a restore point."""

    storage: str  # the name of the storage
    file: FurtherFile  # its path is as it stands in an inventory, without a slash before it
    pieces: Iterator[bytes | memoryview] = iter(())  # of a file but for its holes, if asked for
    first: bytes = b""  # the path of an item that came before and is this file too


@dataclass(frozen=True, kw_only=True)
class InventoryOrder:
    """The contents that a user asks for."""

    when: When | None  # None: the newest state
    below: str = ""  # a path: nothing but that and what lies in it; "": everything
    filled: bool = False  # with all that is in the files

    def wants(self, path: str) -> bool:
        """Tell whether *path* is asked for."""
        below = self.below
        return not below or path == below or path.startswith(f"{below}/")

    def may_want(self, directory: str) -> bool:
        """Tell whether something in *directory* may be asked for."""
        return self.wants(directory) or self.below.startswith(f"{directory}/")


def is_path(word: str) -> bool:
    """Tell whether a *word* that was typed is a path of an inventory, and no moment."""
    begin = word.partition("/")[0].partition("-")[0]
    return begin in {"", FILES, FILESTORAGE, BLOBSTORAGE}


def path_of(word: str) -> str:
    """Return the path of an inventory that a *word* means: one with a slash is of further files."""
    word = word.rstrip("/") or "/"
    return f"{FILES}{word}".rstrip("/") if word.startswith("/") else word


class Inventory(NamedTuple):
    """The contents that were asked for."""

    items: Iterator[InventoryItem]  # to be read one after the other
    size: int  # approximate number of bytes in all; 0: unknown


@contextmanager
def inventory(run: Run, order: InventoryOrder) -> Iterator[Inventory]:
    """Yield the contents, to be read before the ``with`` block ends.

    Raises NoRestorePoint, IntegrityError for damage, and UsageError, at the end, if nothing was
    found.
    """
    with ExitStack() as opened:
        destinations = opened.enter_context(run.opened())
        missingdisk.warn(run)
        states = [_state(run, each, order, opened) for each in destinations]
        size = 0 if order.below or not order.filled else sum(map(_size_of, states))
        pairs = zip(states, destinations, strict=True)
        yield Inventory(_not_none([_items(*pair, order) for pair in pairs], order), size)


def _size_of(state: State) -> int:
    files = state.files.size if state.files is not None else 0
    return state.point.end + (state.point.blob_bytes or 0) + files


def _state(run: Run, destination: Destination, order: InventoryOrder, opened: ExitStack) -> State:
    points = destination.restore_points()
    choice = choice_of(run, destination, order.when, points)
    logger.info("this is %s", described(choice, order.when))
    opened.enter_context(alternative_named(run, destination, choice, points))
    return opened.enter_context(destination.open(choice))


def _not_none(
    parts: Iterable[Iterator[InventoryItem]], order: InventoryOrder
) -> Iterator[InventoryItem]:
    count = 0
    for part in parts:
        for item in part:
            count += 1
            yield item
    if order.below and not count:
        hint = "list --content shows what there is"
        if order.below.startswith(f"{FILES}/"):
            hint += "; only repositories have further files, and --from NAME names one"
        raise UsageError(f"there is no {order.below} in this restore point", hint=hint)


def _items(
    state: State, destination: Destination, order: InventoryOrder
) -> Iterator[InventoryItem]:
    name = destination.source.name
    end = "" if name == MAIN else f"-{name}"
    log, blobs = f"{FILESTORAGE}{end}", f"{BLOBSTORAGE}{end}"
    if order.may_want(log):
        yield from _log(state, f"{log}/Data.fs", name, order)
    if order.may_want(blobs):
        yield from _blobs(state, blobs, name, order)
    if not end and order.may_want(FILES):
        yield from _files(state, name, order)


def _log(state: State, path: str, name: str, order: InventoryOrder) -> Iterator[InventoryItem]:
    log = state.log
    if log is None or not order.wants(path):
        return
    stored = StoredFile(path, Kind.FILE, log.size, _moment_of(state), None)
    file = _owned(stored, state, FILESTORAGE)._replace(mode=log.mode & 0o777)
    yield InventoryItem(name, file, log.pieces(0, ignore) if order.filled else iter(()))


def _blobs(state: State, top: str, name: str, order: InventoryOrder) -> Iterator[InventoryItem]:
    blobs = state.blobs
    if blobs is None:
        return
    is_marked = False
    for each in _each_blob(blobs, lambda path: order.wants(f"{top}/{path}"), order):
        is_marked = is_marked or each.file.kind is Kind.MARKER
        stored = each.file._replace(path=f"{top}/{each.file.path}")
        file = _owned(stored, state, BLOBSTORAGE)
        if file.sort is FileSort.LINK:
            file = file._replace(target=b"".join(map(bytes, each.pieces)))
        yield InventoryItem(
            name, file, each.pieces, f"{top}/{each.same}".encode() * bool(each.same)
        )
    path = f"{top}/{MARKER}"
    if blobs.layout is not None and not is_marked and order.wants(path):
        # without it ZODB takes them for blobs of another layout
        text = blobs.layout.value.encode("ascii")
        stored = StoredFile(path, Kind.MARKER, len(text), _moment_of(state), None)
        yield InventoryItem(name, _owned(stored, state, BLOBSTORAGE), iter([text]))


def _each_blob(
    blobs: StoredBlobs, wanted: Callable[[str], bool], order: InventoryOrder
) -> Iterator[StoredContents]:
    if order.filled:
        return blobs.contents(wanted)
    return (StoredContents(file, iter(())) for file in blobs.listed() if wanted(file.path))


def _files(state: State, name: str, order: InventoryOrder) -> Iterator[InventoryItem]:
    files = state.files
    if files is None:
        return
    below = order.below.encode("utf-8", "surrogateescape").removeprefix(FILES.encode()) or b"/"
    first: dict[bytes, bytes] = {}
    nothing: Iterator[bytes] = iter(())
    found = files.contents(below) if order.filled else ((f, nothing) for f in files.listed(below))
    for file, pieces in found:
        path = FILES.encode() + file.path.rstrip(b"/")
        before = b"" if file.same is None else first.setdefault(file.same, path)
        before = b"" if before == path else before
        yield InventoryItem(name, file._replace(path=path), pieces, before)


def _moment_of(state: State) -> int:
    """Return the moment of a state, nanoseconds since 1970."""
    moment = state.point.moment if state.tid is None else times.moment_of(state.tid)
    return int(moment.timestamp()) * 10**9


def _owned(stored: StoredFile, state: State, what: str) -> FurtherFile:
    """Return what *stored* is, with the owner of *what* when that was backed up."""
    sort, rights = _SORTS.get(stored.kind, FileSort.FILE), state.point.rights.get(what)
    return FurtherFile(
        path=stored.path.encode("utf-8", "surrogateescape"),
        sort=sort,
        mode=_PRIVATE[sort],
        owner=rights.uid if rights else 0,
        group=rights.gid if rights else 0,
        time=stored.time,
        size=stored.size if sort is FileSort.FILE else 0,
    )
