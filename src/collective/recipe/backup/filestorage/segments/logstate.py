"""A state: the filestorage at one moment, as a list of spans.

The spans of a state, one after the other behind the 4 bytes that begin the file, give the
filestorage.  Most of them do not change from one state to the next, so they are stored in *pages*
of 64 spans at most, which are chunks and shared by states.  The other spans, with the names of the
pages, are the *root*; numbers and names are those of ``fields``::

    0    8   magic "CRBSTATE"
    8    2   version of this format, 1
    10   4   the first 4 bytes of the filestorage
    14   8   size of the filestorage in bytes
    22   8   offset up to which its segments end at cuts; what follows is superseded once the
             next cut is known
    30   8   tid of its first transaction (zeros: it has none)
    38   8   its greatest tid, which is that of its last transaction but for odd logs (zeros:
             it has none)
    46   8   the greatest tid of its transactions that a pack rewrote (zeros: none)
    54       number of pages, then for each:
                 its name
                 numbers   its spans, the bytes of the filestorage, transactions, records
                 8 bytes   the greatest tid up to its end
             number of spans, then the spans

    a page: magic "CRBSPANS", 2 bytes version 1, number of spans, the spans
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import NamedTuple

from collective.recipe.backup.filestorage.format import MAGIC_SIZE, MAGICS
from collective.recipe.backup.filestorage.segments import spans
from collective.recipe.backup.filestorage.segments.chunkstore import ChunkKind, Chunks, Linked
from collective.recipe.backup.filestorage.segments.fields import Fields, Names, number
from collective.recipe.backup.filestorage.segments.spans import Span
from collective.recipe.backup.frozen import dataclass
from collective.recipe.backup.times import ZERO_TID, Tid

MAGIC, PAGE_MAGIC, VERSION = b"CRBSTATE", b"CRBSPANS", 1
SPANS_OF_A_PAGE = 64
HEAVIEST = 1 << 20
"""Bytes of spans for which a page ends earlier, so that it is no larger than a chunk may be."""
_VERSION = struct.Struct(">H")
_TID = 8
_SMALLEST_SPAN, _SMALLEST_PAGE = 69, 13
"""Bytes that each takes at least."""


class SpanPage(NamedTuple):
    """A chunk of 64 spans at most, which states share."""

    name: bytes  # of the chunk
    spans: int  # how many
    size: int  # bytes of the filestorage that they stand for
    transactions: int  # number of transactions in its spans
    records: int  # number of data records in its spans
    last: Tid  # the greatest in the filestorage up to their end


@dataclass(frozen=True, kw_only=True)
class LogState:
    """A filestorage at one moment."""

    magic: bytes  # its first 4 bytes
    size: int  # in bytes
    settled: int  # offset up to which the next state keeps segments, unless there was a pack
    first: Tid  # of its first transaction; zeros: it has none
    last: Tid  # the greatest, which is that of the last one but for odd logs (see tids)
    packed: Tid  # the greatest of those that a pack rewrote; zeros: none
    pages: tuple[SpanPage, ...] = ()  # that come before *spans*
    spans: tuple[Span, ...] = ()  # those that follow the pages

    @property
    def parts(self) -> tuple[SpanPage | Span, ...]:
        """Its pages and the other spans, which follow one another in the filestorage."""
        return (*self.pages, *self.spans)

    @property
    def transactions(self) -> int:
        """The number of its transactions."""
        return sum(each.transactions for each in self.parts)

    @property
    def records(self) -> int:
        """The number of its data records."""
        return sum(each.records for each in self.parts)

    @property
    def span_count(self) -> int:
        """The number of its spans."""
        return sum(page.spans for page in self.pages) + len(self.spans)

    def all_spans(self, chunks: Chunks, *, skip: int = 0) -> Iterator[Span]:
        """Yield all spans in order, but those of the first *skip* pages.

        Pages are got one after the other.
        """
        pages = (read_page(chunks, page) for page in self.pages[skip:])
        return chain(chain.from_iterable(pages), self.spans)

    def needed(self, chunks: Chunks) -> Iterator[tuple[ChunkKind, bytes]]:
        """Yield each chunk that this state needs, by kind and name; some more than once."""
        for page in self.pages:
            yield ChunkKind.SPANS, page.name
        for span in self.all_spans(chunks):
            for segment in (span.segment, *span.lenders):
                yield from ((ChunkKind.SEGMENT, piece.name) for piece in segment.pieces)
                yield from ((ChunkKind.INDEX, name) for name in segment.index)

    def use(self, chunks: Chunks) -> float:
        """Return how much of its segments it uses, as a fraction of their bytes."""
        sizes = {span.segment.pieces: span.segment.size for span in self.all_spans(chunks)}
        return self.size / max(self.size, sum(sizes.values()))

    def root(self) -> Linked:
        """Return what this state can be read from again, together with its chunks."""
        names = Names()
        data = b"".join(
            (
                MAGIC,
                _VERSION.pack(VERSION),
                self.magic,
                self.size.to_bytes(8, "big"),
                self.settled.to_bytes(8, "big"),
                self.first,
                self.last,
                self.packed,
                number(len(self.pages)),
                *(_written(page, names) for page in self.pages),
                number(len(self.spans)),
                *(spans.written(span, names) for span in self.spans),
            )
        )
        return names.linked(data)


def read_log_state(root: Linked) -> LogState:
    """Return the state with this *root*.  Raises IntegrityError if that is damaged.

    A version that is not known is refused, not guessed.
    """
    fields = Fields(root.data, "the state of a filestorage", root.names)
    _check_version(fields, MAGIC)
    magic, size, settled = fields.take(MAGIC_SIZE), fields.integer(), fields.integer()
    first, last, packed = (Tid(fields.take(_TID)) for _tid in range(3))
    state = LogState(
        magic=magic,
        size=size,
        settled=settled,
        first=first,
        last=last,
        packed=packed,
        pages=tuple(_pages(fields)),
        spans=tuple(spans.read(fields) for _span in range(fields.count(_SMALLEST_SPAN))),
    )
    fields.finish()
    total = MAGIC_SIZE + sum(each.size for each in state.parts)
    ends = [ZERO_TID, *(each.last for each in state.parts)]
    if (
        magic not in MAGICS
        or size != total
        or not MAGIC_SIZE <= settled <= size
        or last != ends[-1]
        or any(a > b for a, b in zip(ends, ends[1:], strict=False))
    ):
        raise fields.damaged("its parts do not fit together")
    return state


def read_page(chunks: Chunks, page: SpanPage) -> list[Span]:
    """Return the spans of a page.  Raises IntegrityError if it is missing or damaged."""
    names, data = chunks.get_linked(ChunkKind.SPANS, page.name)
    fields = Fields(data, "a page of spans", names)
    _check_version(fields, PAGE_MAGIC)
    found = [spans.read(fields) for _span in range(fields.count(_SMALLEST_SPAN))]
    fields.finish()
    if page_of(page.name, found) != page:
        raise fields.damaged("it is not the one that its state names")
    return found


def _pages(fields: Fields) -> Iterator[SpanPage]:
    for _page_number in range(fields.count(_SMALLEST_PAGE)):
        yield SpanPage(
            fields.name(),
            fields.number(),
            fields.number(),
            fields.number(),
            fields.number(),
            Tid(fields.take(_TID)),
        )


def _written(page: SpanPage, names: Names) -> bytes:
    return names.name(page.name) + b"".join(map(number, page[1:5])) + page.last


def written_page(found: Sequence[Span]) -> Linked:
    """Return the chunk of a page with these spans."""
    names = Names()
    head = PAGE_MAGIC + _VERSION.pack(VERSION) + number(len(found))
    return names.linked(head + b"".join(spans.written(span, names) for span in found))


def page_of(name: bytes, found: Sequence[Span]) -> SpanPage:
    """Return what a state says of a page with these spans."""
    return SpanPage(
        name,
        len(found),
        sum(span.size for span in found),
        sum(span.transactions for span in found),
        sum(span.records for span in found),
        found[-1].last if found else ZERO_TID,
    )


def _check_version(fields: Fields, magic: bytes) -> None:
    if fields.take(len(magic)) != magic:
        raise fields.damaged("it begins as none does")
    (version,) = _VERSION.unpack(fields.take(_VERSION.size))
    if version != VERSION:
        raise fields.damaged(f"its version {version} is not known here")
