"""The blobs of a restore point, in pages that restore points share.

Blobs never change, so the list of them is a log as well, in the order of tid and oid: a day
adds a page, and shares the others.  After a pack a page is used in part: bits say which of its
blobs still belong to the restore point.

docs/design/selection.rst has both formats byte for byte.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from collective.recipe.backup.blobs.layout import Layout
from collective.recipe.backup.filestorage.segments import Linked
from collective.recipe.backup.filestorage.segments.fields import Fields, Names, number, string
from collective.recipe.backup.frozen import dataclass
from collective.recipe.backup.model import BlobId, Oid
from collective.recipe.backup.times import Tid

MAGIC, PAGE_MAGIC, VERSION = b"CRBBLOBS", b"CRBBPAGE", 1
BLOBS_OF_A_PAGE = 256
PIECE = 4 << 20
"""Bytes of a blob in one chunk."""
PIECES_OF_A_NODE = 4096
_LAYOUTS = (Layout.BUSHY, Layout.LAWN)
_SMALLEST_BLOB, _SMALLEST_PAGE = 17, 23
"""Bytes that each takes at least."""
_ID, _TIME, _DIGEST, _VERSION = 8, 8, 32, 2
_MODES = 0o777


class BlobFile(NamedTuple):
    """The file of a blob, as it is stored."""

    mode: int  # permissions
    time: int  # of its last change, nanoseconds since 1970
    size: int  # bytes
    digest: bytes  # BLAKE3 of its bytes
    chunks: tuple[bytes, ...]  # with its bytes, or nodes that name those


class PagedBlob(NamedTuple):
    """A blob of a page."""

    tid: Tid  # of the transaction that wrote the blob
    oid: Oid  # of its object
    file: BlobFile | None  # None: the site had none, or it could not be read

    @property
    def blob(self) -> BlobId:
        """The id of the blob."""
        return BlobId(self.oid, self.tid)

    @property
    def size(self) -> int:
        """Bytes of its file."""
        return self.file.size if self.file else 0


@dataclass(frozen=True, kw_only=True)
class BlobPage:
    """A page, and which of its blobs belong to a restore point."""

    name: bytes  # of its chunk
    first: Tid  # tid of its first blob
    last: Tid  # tid of its last blob
    blobs: int  # in it
    size: int  # bytes of these
    bits: bytes = b""  # which of them belong to the restore point; empty: all
    there: int  # of those, how many have a file
    there_size: int  # bytes of these
    lost: int  # how many have none

    def belongs(self, place: int) -> bool:
        """Tell whether the blob at a *place* of the page belongs to the restore point."""
        return not self.bits or bool(self.bits[place >> 3] >> (place & 7) & 1)

    def chosen(self, blobs: Sequence[PagedBlob], places: Sequence[int]) -> BlobPage:
        """Return this page with just those *places* of its *blobs*."""
        bits = bytearray((len(blobs) + 7) // 8)
        for place in places:
            bits[place >> 3] |= 1 << (place & 7)
        return page_of(
            self.name,
            blobs,
            [blobs[place] for place in places],
            b"" if len(places) == len(blobs) else bytes(bits),
        )


@dataclass(frozen=True, kw_only=True)
class BlobList:
    """The blobs of a restore point."""

    layout: Layout  # of the blobstorage that they are from
    pages: tuple[BlobPage, ...] = ()  # in the order of tids

    @property
    def there(self) -> int:
        """Number of blobs with a file."""
        return sum(page.there for page in self.pages)

    @property
    def there_size(self) -> int:
        """Bytes of these."""
        return sum(page.there_size for page in self.pages)

    @property
    def lost(self) -> int:
        """Number of blobs without a file."""
        return sum(page.lost for page in self.pages)

    def root(self) -> Linked:
        """Return what this list can be read from again.

        Raises ValueError for one that ``read_list`` would refuse.
        """
        if not _are_sorted(self.pages):
            raise ValueError("the pages of a list of blobs are not in order")
        names = Names()
        head = MAGIC + VERSION.to_bytes(_VERSION, "big") + bytes([_LAYOUTS.index(self.layout)])
        pages = b"".join(_written(page, names) for page in self.pages)
        return names.linked(head + number(len(self.pages)) + pages)


def page_of(
    name: bytes, blobs: Sequence[PagedBlob], belonging: Sequence[PagedBlob], bits: bytes = b""
) -> BlobPage:
    """Return what a list says of a page with these *blobs*, of which some are *belonging* to it."""
    there = [each for each in belonging if each.file is not None]
    return BlobPage(
        name=name,
        first=blobs[0].tid,
        last=blobs[-1].tid,
        blobs=len(blobs),
        size=sum(each.size for each in blobs),
        bits=bits,
        there=len(there),
        there_size=sum(each.size for each in there),
        lost=len(belonging) - len(there),
    )


def read_list(root: Linked) -> BlobList:
    """Return the list with this *root*.  Raises IntegrityError if that is damaged."""
    fields = Fields(root.data, "the list of blobs", root.names)
    check_version(fields, MAGIC)
    layout = fields.take(1)[0]
    if layout >= len(_LAYOUTS):
        raise fields.damaged(f"its layout {layout} is not known here")
    pages = tuple(_page(fields) for _page_number in range(fields.count(_SMALLEST_PAGE)))
    fields.finish()
    if not _are_sorted(pages):
        raise fields.damaged("its pages are not in order")
    return BlobList(layout=_LAYOUTS[layout], pages=pages)


def _are_sorted(pages: Sequence[BlobPage]) -> bool:
    lasts = [page.last for page in pages]
    return lasts == sorted(lasts)


def _page(fields: Fields) -> BlobPage:
    page = BlobPage(
        name=fields.name(),
        first=Tid(fields.take(_ID)),
        last=Tid(fields.take(_ID)),
        blobs=fields.number(),
        size=fields.number(),
        bits=fields.string(),
        there=fields.number(),
        there_size=fields.number(),
        lost=fields.number(),
    )
    if page.first > page.last or len(page.bits) not in {0, (page.blobs + 7) // 8}:
        raise fields.damaged("a page does not fit together")
    return page


def _written(page: BlobPage, names: Names) -> bytes:
    return b"".join(
        (
            names.name(page.name),
            page.first,
            page.last,
            number(page.blobs),
            number(page.size),
            string(page.bits),
            number(page.there),
            number(page.there_size),
            number(page.lost),
        )
    )


def written_page(blobs: Sequence[PagedBlob]) -> Linked:
    """Return the chunk of a page with these blobs.

    Raises ValueError for what ``read_page`` would refuse, so that it is never stored.
    """
    if not _are_in_order(blobs):
        raise ValueError("the blobs of a page are not in order, or one of them comes twice")
    names = Names()
    head = PAGE_MAGIC + VERSION.to_bytes(_VERSION, "big") + number(len(blobs))
    return names.linked(head + b"".join(_blob_written(each, names) for each in blobs))


def _blob_written(each: PagedBlob, names: Names) -> bytes:
    if each.file is None:
        return each.oid + each.tid + number(0)
    file = each.file
    return each.oid + each.tid + number(file.mode + 1) + written_file(file, names)


def written_file(file: BlobFile, names: Names) -> bytes:
    """Return what a page says of *file*, but for its permissions."""
    return b"".join(
        (
            file.time.to_bytes(_TIME, "big", signed=True),
            number(file.size),
            file.digest,
            number(len(file.chunks)),
            *map(names.name, file.chunks),
        )
    )


def read_page(page: BlobPage, linked: Linked) -> list[PagedBlob]:
    """Return all blobs of a page, which is the chunk *linked*.

    Raises IntegrityError if that is damaged, or none that has the page.
    """
    fields = Fields(linked.data, "a page of blobs", linked.names)
    check_version(fields, PAGE_MAGIC)
    found = [_blob(fields) for _blob_number in range(fields.count(_SMALLEST_BLOB))]
    fields.finish()
    if len(found) != page.blobs:
        raise fields.damaged("it is not the one that the list names")
    if not _are_in_order(found):
        raise fields.damaged("its blobs are not in order")
    belonging = [each for place, each in enumerate(found) if page.belongs(place)]
    if page_of(page.name, found, belonging, page.bits) != page:
        raise fields.damaged("it is not the one that the list names")
    return found


def _are_in_order(blobs: Sequence[PagedBlob]) -> bool:
    """Tell whether there is any blob, and each has its place by tid and oid, and comes once."""
    return bool(blobs) and all(a[:2] < b[:2] for a, b in zip(blobs, blobs[1:], strict=False))


def _blob(fields: Fields) -> PagedBlob:
    # this is done for each blob of a site
    ids = fields.take(2 * _ID)
    oid, tid = Oid(ids[:_ID]), Tid(ids[_ID:])
    mode = fields.number() - 1
    if mode < 0:
        return PagedBlob(tid, oid, None)
    return PagedBlob(tid, oid, read_file(fields, mode))


def read_file(fields: Fields, mode: int) -> BlobFile:
    """Return a file with these permissions, of which the rest follows.  Raises IntegrityError."""
    time = int.from_bytes(fields.take(_TIME), "big", signed=True)
    size, digest = fields.number(), fields.take(_DIGEST)
    count = fields.count(1)
    chunks = (fields.name(),) if count == 1 else tuple(fields.name() for _chunk in range(count))
    if mode > _MODES or count != chunks_of(size):
        raise fields.damaged("a file does not fit together")
    return BlobFile(mode, time, size, digest, chunks)


def chunks_of(size: int) -> int:
    """Return how many chunks a page names for a blob of *size* bytes."""
    if size <= PIECE:
        return bool(size)
    pieces = -(-size // PIECE)
    return -(-pieces // PIECES_OF_A_NODE)


def read_pieces(linked: Linked) -> list[bytes]:
    """Return the names of the pieces in a node of a large blob.  Raises IntegrityError."""
    fields = Fields(linked.data, "a list of pieces of a blob", linked.names)
    found = []
    while fields.left:
        found.append(fields.name())
    fields.finish()
    return found


def grouped(pieces: Iterable[bytes]) -> Iterator[tuple[bytes, ...]]:
    """Yield the pieces of a large blob in groups, as nodes name them."""
    group: list[bytes] = []
    for piece in pieces:
        group.append(piece)
        if len(group) == PIECES_OF_A_NODE:
            yield tuple(group)
            group = []
    if group:
        yield tuple(group)


def check_version(fields: Fields, magic: bytes) -> None:
    """Read how a list or a page begins.  Raises IntegrityError if it is no such one."""
    if fields.take(len(magic)) != magic:
        raise fields.damaged("it begins as none does")
    version = int.from_bytes(fields.take(_VERSION), "big")
    if version != VERSION:
        raise fields.damaged(f"its version {version} is not known here")
