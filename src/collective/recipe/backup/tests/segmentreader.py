"""A reader of states that was written from docs/design/selection.rst alone.

It shares no code with the package, so that a test can tell whether the page says what is
written.  It takes the whole of everything into memory.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from typing import NamedTuple

from blake3 import blake3

Get = Callable[[bytes], bytes]
"""Returns the bytes of a chunk."""

BLOCK = 4 << 20
VERBATIM, PACKED, MOVED = range(3)


class Span(NamedTuple):
    rule: int
    base: int
    data: bytes  # of the range of the segment
    begin: int  # of that range in the segment
    size: int
    digests: list[bytes]
    chosen: bytes
    loans: list[bytes]
    floor: int
    pointers: list[int]
    corrections: list[tuple[int, bytes]]


class Reader:
    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0
        self.names: list[bytes] = []

    @classmethod
    def of_linked(cls, data: bytes) -> Reader:
        reader = cls(data)
        reader.names = [reader.take(32) for _name in range(reader.fixed(4))]
        return reader

    def take(self, size: int) -> bytes:
        assert self.at + size <= len(self.data)
        self.at += size
        return self.data[self.at - size : self.at]

    def fixed(self, size: int) -> int:
        return int.from_bytes(self.take(size), "big")

    def number(self) -> int:
        value = shift = 0
        while True:
            byte = self.take(1)[0]
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    def numbers(self, count: int) -> list[int]:
        return [self.number() for _number in range(count)]

    def name(self) -> bytes:
        return self.names[self.number()]

    def string(self) -> bytes:
        return self.take(self.number())


def filestorage(root: bytes, get: Get, block: int = BLOCK) -> bytes:
    """Return the filestorage that the state with this *root* stands for."""
    reader = Reader.of_linked(root)
    assert reader.take(8) == b"CRBSTATE"
    assert reader.fixed(2) == 1
    file = bytearray(reader.take(4))
    size, _last_cut = reader.fixed(8), reader.fixed(8)
    reader.take(24)
    for _page in range(reader.number()):
        page = Reader.of_linked(get(reader.name()))
        count = reader.number()
        reader.numbers(3)
        reader.take(8)
        assert page.take(8) == b"CRBSPANS"
        assert page.fixed(2) == 1
        assert page.number() == count
        for _span in range(count):
            file += bytes_of(span(page, get, block), len(file), block)
    for _span in range(reader.number()):
        file += bytes_of(span(reader, get, block), len(file), block)
    assert reader.at == len(root)
    assert len(file) == size
    return bytes(file)


def span(reader: Reader, get: Get, block: int) -> Span:
    rule = reader.take(1)[0]
    base, segment = segment_of(reader, get)
    begin, end, size = reader.numbers(3)
    reader.take(8)
    reader.numbers(2)
    digests = [reader.take(32) for _block in range(0, size, block)]
    chosen, floor = b"", 0
    loans: list[bytes] = []
    pointers: list[int] = []
    if rule == PACKED:
        chosen = reader.string()
        lenders = [segment_of(reader, get)[1] for _lender in range(reader.number())]
        for _loan in range(reader.number()):
            lender, offset, length = reader.numbers(3)
            loans.append(lenders[lender][offset : offset + length] if length else b"")
    if rule == MOVED:
        floor = reader.number()
        pointers = [reader.fixed(8) for _pointer in range(reader.number())]
    corrections, place = [], 0
    for _correction in range(reader.number()):
        place += reader.number()
        corrections.append((place, reader.string()))
        place += len(corrections[-1][1])
    return Span(
        rule, base, segment[begin:end], begin, size, digests, chosen, loans, floor, pointers,
        corrections,
    )  # fmt: skip


def segment_of(reader: Reader, get: Get) -> tuple[int, bytes]:
    """Return the base and the bytes of the segment that stands next."""
    base = reader.number()
    reader.take(16)
    data = b""
    for _piece in range(reader.number()):
        piece = get(reader.name())
        assert len(piece) == reader.number()
        data += piece
    reader.numbers(reader.number())
    return base, data


def bytes_of(found: Span, offset: int, block: int) -> bytes:
    """Return what a span at *offset* of the filestorage stands for."""
    if found.rule == VERBATIM:
        data = bytearray(found.data)
    elif found.rule == PACKED:
        data = bytearray(b"".join(packed(found, offset)))
    else:
        data = bytearray(b"".join(moved(found, offset)))
    for place, right in found.corrections:
        data[place : place + len(right)] = right
    assert len(data) == found.size
    for number, digest in enumerate(found.digests):
        part = data[number * block : (number + 1) * block]
        assert blake3(part).digest() == digest
    return bytes(data)


def transactions(data: bytes) -> Iterator[tuple[int, bytes, list[bytes]]]:
    """Yield of each transaction its offset in *data*, its header with texts, its records."""
    begin = 0
    while begin < len(data):
        length, *texts = struct.unpack_from(">8xQxHHH", data, begin)
        records = begin + 23 + sum(texts)
        end = begin + length
        found, at = [], records
        while at < end:
            (size,) = struct.unpack_from(">34xQ", data, at)
            found.append(data[at : at + 42 + (size or 8)])
            at += len(found[-1])
        yield begin, data[begin:records], found
        begin = end + 8


def packed(found: Span, offset: int) -> Iterator[bytes]:
    row, loans = 0, iter(found.loans)
    for _begin, header, records in transactions(found.data):
        kept = b""
        for record in records:
            if not found.chosen or found.chosen[row // 8] >> row % 8 & 1:
                data = record[42:]
                if struct.unpack_from(">34xQ", record) == (0,):
                    data = next(loans)
                kept += record[:16] + struct.pack(">QQHQ", 0, offset, 0, len(data))
                kept += data or bytes(8)
            row += 1
        if kept:
            length = struct.pack(">Q", len(header) + len(kept))
            whole = header[:8] + length + b"p" + header[17:] + kept + length
            yield whole
            offset += len(whole)


def moved(found: Span, offset: int) -> Iterator[bytes]:
    pointers = iter(found.pointers)

    def pointer(was: int, then: int, now: int) -> int:
        if was and now - then + was < found.floor:
            return next(pointers)
        return now - then + was if was else 0

    for begin, header, records in transactions(found.data):
        whole = header
        for record in records:
            previous, transaction, size = struct.unpack_from(">16xQQ2xQ", record)
            assert transaction == found.base + found.begin + begin
            then, now = transaction + len(whole), offset + len(whole)
            whole += record[:16] + struct.pack(
                ">QQHQ", pointer(previous, then, now), offset, 0, size
            )
            if size:
                whole += record[42:]
            else:
                (back,) = struct.unpack(">Q", record[42:])
                whole += struct.pack(">Q", pointer(back, then, now))
        whole += header[8:16]
        yield whole
        offset += len(whole)
