"""Parsers of what lies in the store of a repository; see ``foreign``.

What is read before it is authenticated may be anything: the format, the slots, the header of an
object, the end of a bundle.  What follows was written by whoever has the keys, which another
host of the repository has as well: so it is sealed here with keys that fit, and then read.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

from collective.recipe.backup.destinations.repository import blobpages, treepages
from collective.recipe.backup.destinations.repository.kinds import RECORD_INDEX
from collective.recipe.backup.destinations.repository.pointcontents import contents_of
from collective.recipe.backup.errors import IntegrityError
from collective.recipe.backup.filestorage.segments import ChunkKind, Linked, read_log_state
from collective.recipe.backup.filestorage.segments.logstate import SpanPage
from collective.recipe.backup.filestorage.segments.logstate import read_page as read_span_page
from collective.recipe.backup.filestorage.segments.recordindex import RecordIndex
from collective.recipe.backup.repository import boxes
from collective.recipe.backup.repository.boxes import unsealed
from collective.recipe.backup.repository.bundles import TRAILER_SIZE, directory_place
from collective.recipe.backup.repository.cache import Cache
from collective.recipe.backup.repository.catalogs import directories_of
from collective.recipe.backup.repository.chunks import decoded, is_node
from collective.recipe.backup.repository.compressing import RAW
from collective.recipe.backup.repository.controls import UNNEEDED, Controls, seal_mark, seal_ticket
from collective.recipe.backup.repository.format import parse_format
from collective.recipe.backup.repository.keyring import public
from collective.recipe.backup.repository.names import control_name, id_of
from collective.recipe.backup.repository.newrepository import init
from collective.recipe.backup.repository.points import read_point
from collective.recipe.backup.repository.reading import ChunkReader
from collective.recipe.backup.repository.sealing import (
    HEADER_SIZE,
    TAG_SIZE,
    BrokenSealError,
    Role,
    Sort,
    header,
    new_salt,
    salt_of,
)
from collective.recipe.backup.repository.slots import name_of_slot, parse_slot
from collective.recipe.backup.stores import StoredObject
from collective.recipe.backup.stores.memory import MemoryStore
from collective.recipe.backup.tests.faults.harness import Hasty
from collective.recipe.backup.tests.repositories import START, World
from collective.recipe.backup.tests.repositoryruns import OperatedInRepository
from collective.recipe.backup.tests.samples import Site
from collective.recipe.backup.times import LAST_TID, STAMP, ZERO_TID

Parser = Callable[[bytes, Path], object]
PARSERS: dict[str, Parser] = {}
KEYRING = public(bytes(16))
_PLACE = f"2026-03-01-12-00-00-{KEYRING.site_tag('site')}-"


def parser(function: Parser) -> Parser:
    PARSERS[function.__name__] = function
    return function


# before anything is authenticated


@parser
def format_of_a_repository(data: bytes, _room: Path) -> object:
    return parse_format(data)


@parser
def slot_of_a_key(data: bytes, _room: Path) -> object:
    return parse_slot(name_of_slot(data), data)


@parser
def header_of_an_object(data: bytes, _room: Path) -> object:
    for sort in Sort:
        with suppress(BrokenSealError):
            salt_of(data, sort)
    return None


@parser
def object_with_a_broken_seal(data: bytes, _room: Path) -> object:
    for sort in Sort:
        with suppress(BrokenSealError):
            boxes.parsed(unsealed(KEYRING, sort, data))
    return None


@parser
def end_of_a_bundle(data: bytes, _room: Path) -> object:
    with suppress(BrokenSealError):
        return directory_place(data[:TRAILER_SIZE].rjust(TRAILER_SIZE, b"\0"), 1 << 20)
    return None


# what was authenticated


def stored(sort: Sort, plain: bytes) -> bytes:
    """Return the object whose seal is right, and in which *plain* is whatever it is."""
    salt = new_salt()
    data = bytearray(HEADER_SIZE + len(plain) + TAG_SIZE)
    data[:HEADER_SIZE] = header(sort, salt)
    with memoryview(data) as view:
        KEYRING.seal(sort, salt).into(view[HEADER_SIZE:], Role.CONTENTS, HEADER_SIZE, plain)
    return bytes(data)


def box(sort: Sort, contents: bytes) -> bytes:
    """Return the object with these *contents*: size of the head, head, payload."""
    return stored(sort, boxes._PIECE.pack(RAW, len(contents), len(contents)) + contents)


@parser
def inside_of_an_object(data: bytes, _room: Path) -> object:
    with suppress(BrokenSealError):
        return boxes.parsed(unsealed(KEYRING, Sort.POINT, stored(Sort.POINT, data)))
    return None


def _place_in(data: bytes) -> str:
    """Return the place that the name of a restore point has, if its head says it."""
    stamp = re.search(rb'"stamp": *"([^"]*)"', data)
    site = re.search(rb'"site": *"([^"]*)"', data)
    if not stamp or not site or not re.fullmatch(STAMP, stamp[1].decode("ascii", "replace")):
        return _PLACE
    tag = KEYRING.site_tag(site[1].decode("utf-8", "replace"))
    return f"{stamp[1].decode('ascii')}-{tag}-"


@parser
def restore_point_in_a_repository(data: bytes, _room: Path) -> object:
    sealed = box(Sort.POINT, data)
    name = control_name(Sort.POINT, id_of(sealed), _place_in(data))
    point = read_point(MemoryStore(), KEYRING, boxes.Sealed(name, sealed), START)
    return contents_of(point)


@parser
def ticket_mark_or_trash(data: bytes, _room: Path) -> object:
    for sort, read in ((Sort.TICKET, "ticket"), (Sort.MARK, "mark"), (Sort.TRASH, "trashed")):
        store = MemoryStore()
        sealed = box(sort, data)
        place = _PLACE if sort is Sort.TRASH else ""
        name = control_name(sort, id_of(sealed), place)
        store.put(name, sealed)
        controls = Controls(store, lambda: KEYRING, Cache(None, Hasty(), str))
        with suppress(IntegrityError):
            getattr(controls, read)(StoredObject(name, len(sealed), START))
    return None


@parser
def catalog_of_bundles(data: bytes, _room: Path) -> object:
    with suppress(BrokenSealError):
        return directories_of(
            boxes.parsed(unsealed(KEYRING, Sort.CATALOG, box(Sort.CATALOG, data)))
        )
    return None


@parser
def node_of_a_repository(data: bytes, _room: Path) -> object:
    """Whatever nodes there are: each is taken for each."""
    try:
        found = decoded(data)
    except ValueError:
        return None
    linked = Linked(found.refs, found.payload)

    class One:
        def get_linked(self, _kind: ChunkKind, _name: bytes) -> Linked:
            return linked

    page = blobpages.BlobPage(
        name=b"", first=ZERO_TID, last=LAST_TID, blobs=1, size=1, there=1, there_size=1, lost=0
    )
    for read in (
        lambda: read_log_state(linked),
        lambda: read_span_page(One(), SpanPage(b"", 1, 1, 1, 1, LAST_TID)),
        lambda: blobpages.read_list(linked),
        lambda: blobpages.read_page(page, linked),
        lambda: blobpages.read_pieces(linked),
        lambda: treepages.read_tree_root(linked),
        lambda: treepages.read_tree_page(linked),
    ):
        with suppress(IntegrityError):
            read()
    return None


@parser
def record_index(data: bytes, _room: Path) -> object:
    return RecordIndex(data)


def examples(directory: Path) -> dict[str, list[bytes]]:
    """Return for each parser what it reads in real life."""
    store = MemoryStore()
    init(store, None, START)
    site = Site(directory / "site of a repository")
    operated = OperatedInRepository(site, store=store, passphrase=None)
    for number in range(3):
        site.commit({"a": number}, {"x": b"%d" % number}, at=operated.now)
        operated.backup()
    world = World(directory)
    with operated.destination()._repository() as repository:
        keyring, index, reader = repository.keyring, repository.index, ChunkReader(repository)
        every = [chunk for bundle in index.bundles() for chunk in index.chunks_in(bundle)]
        kinds = {chunk: places[0].kind for chunk, places in index.of(every)}
        nodes = [reader.get(chunk) for chunk, kind in kinds.items() if is_node(kind)]
        indexes = [reader.get(chunk) for chunk, kind in kinds.items() if kind == RECORD_INDEX]
        bundle = next(iter(index.bundles()))

    def those(objects: MemoryStore, prefix: str) -> list[bytes]:
        return [objects.get(each.name) for each in objects.list(prefix)]

    points = those(store, "m/p-")
    boxed = [
        unsealed(keyring, Sort.TICKET, seal_ticket(keyring, "backup", "", timedelta(1)).data),
        unsealed(keyring, Sort.MARK, seal_mark(keyring, UNNEEDED, [bundle], START).data),
    ]
    salt = salt_of(points[0], Sort.POINT)
    inside = keyring.seal(Sort.POINT, salt).opened(
        Role.CONTENTS, HEADER_SIZE, memoryview(points[0])[HEADER_SIZE:]
    )
    return {
        "format_of_a_repository": those(store, "format") + those(world.store, "format"),
        "slot_of_a_key": those(world.store, "keys/"),
        "header_of_an_object": [each[:HEADER_SIZE] for each in points],
        "object_with_a_broken_seal": [*points, *those(store, "bundles/")],
        "end_of_a_bundle": [each[-TRAILER_SIZE:] for each in those(store, "bundles/")],
        "inside_of_an_object": [bytes(inside)],
        "restore_point_in_a_repository": [unsealed(keyring, Sort.POINT, each) for each in points],
        "ticket_mark_or_trash": boxed,
        "catalog_of_bundles": [
            unsealed(keyring, Sort.CATALOG, each) for each in those(store, "catalogs/")
        ],
        "node_of_a_repository": nodes,
        "record_index": indexes,
    }
