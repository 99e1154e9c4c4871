"""The headers of tar: blocks of 512 bytes, and the records of extended headers.

::

    0    name      100      file name, bytes
    100  mode        8      octal digits, as all numbers; too large for them: base 256,
    108  uid, gid  8 8      big-endian, with the topmost bit set
    124  size       12      of the content, which follows in whole blocks
    136  mtime      12      seconds since 1970
    148  checksum    8      sum of all bytes, with these taken for spaces
    156  type        1      see Type
    157  link name 100      target of a link
    257  magic     6 2      "ustar\\0" "00"; GNU: "ustar " " \\0"
    265  user    32 32      and group, as names
    329  device    8 8
    345  prefix    155      goes before the name; but GNU keeps times here
    500            12

A record of an extended header is ``LENGTH SP KEY=VALUE LF``, its length included.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Mapping
from enum import Enum
from functools import lru_cache
from typing import NamedTuple

BLOCK_SIZE = 512
NAME_SIZE = 100

_LAYOUT = struct.Struct("100s8s8s8s12s12s8sc100s8s32s32s16s155s12s")
assert _LAYOUT.size == BLOCK_SIZE  # noqa: S101  the drawing above, checked
_CHECKSUM = slice(148, 156)
_USTAR = b"ustar\00000"
_RECORD = re.compile(rb"(\d{1,9}) ([^=\n]+)=", re.DOTALL)
_TIME = re.compile(rb"(-?)(\d+)(?:\.(\d*))?")
_SECOND = 10**9


class Type(Enum):
    """The type of a header."""

    FILE = b"0"
    OLD_FILE = b"\0"
    CONTIGUOUS = b"7"
    HARD_LINK = b"1"
    SYMBOLIC_LINK = b"2"
    CHARACTER_DEVICE = b"3"
    BLOCK_DEVICE = b"4"
    DIRECTORY = b"5"
    PIPE = b"6"
    EXTENDED = b"x"
    GLOBAL = b"g"
    GNU_DUMPDIR = b"D"
    GNU_LONG_NAME = b"L"
    GNU_LONG_LINK = b"K"
    GNU_SPARSE = b"S"
    GNU_CONTINUED = b"M"
    GNU_LABEL = b"V"


class TarHeader(NamedTuple):
    """One header of a tar file."""

    type: Type  # kind of the entry
    name: bytes  # path
    size: int = 0  # bytes of the content
    mode: int = 0o644  # permissions
    uid: int = 0  # number of the owner
    gid: int = 0  # number of the group
    mtime: int = 0  # seconds since 1970
    link: bytes = b""  # target of a link
    user: bytes = b""  # name of the owner
    group: bytes = b""  # name of the group

    def encode(self) -> bytes:
        """Return the block, or for long names the blocks, that say so."""
        long_names = b""
        if len(self.name) > NAME_SIZE:
            long_names += _long_name(Type.GNU_LONG_NAME, self.name)
        if len(self.link) > NAME_SIZE:
            long_names += _long_name(Type.GNU_LONG_LINK, self.link)
        return long_names + self._block()

    def _block(self) -> bytes:
        block = _LAYOUT.pack(
            self.name[:NAME_SIZE],
            b"%07o\0" % self.mode,
            _number(self.uid, 8),
            _number(self.gid, 8),
            _number(self.size, 12),
            _number(self.mtime, 12),
            b" " * 8,
            self.type.value,
            self.link[:NAME_SIZE],
            _USTAR,
            self.user[:31],
            self.group[:31],
            b"0000000\0" * 2,
            b"",
            b"",
        )
        return b"%b%06o\0 %b" % (block[:148], sum(block), block[156:])


def decode(block: bytes) -> TarHeader:
    """Return what a block says.  Raises ValueError if it is no header."""
    if len(block) != BLOCK_SIZE:
        raise ValueError("it is cut short")
    fields = _LAYOUT.unpack(block)
    name, mode, uid, gid, size, mtime, checksum, kind, link, magic, user, group = fields[:12]
    if _value(checksum) != sum(block) - sum(block[_CHECKSUM]) + 8 * 32:
        raise ValueError("the checksum of a header is wrong")
    name = _text(name)
    # in place of the prefix of POSIX, GNU tar has times
    if magic[:6] == _USTAR[:6] and (prefix := _text(fields[13])):
        name = prefix + b"/" + name
    try:
        found = Type(kind)
    except ValueError:
        raise ValueError(f"a member of the unknown type {kind!r}") from None
    if found is Type.OLD_FILE and name.endswith(b"/"):
        found = Type.DIRECTORY
    return TarHeader(
        type=found,
        name=name,
        size=_size(size),
        mode=_value(mode) & 0o7777,
        uid=_value(uid),
        gid=_value(gid),
        mtime=_value(mtime),
        link=_text(link),
        user=_text(user),
        group=_text(group),
    )


def extended(records: Mapping[bytes, bytes], kind: Type = Type.EXTENDED) -> bytes:
    """Return the blocks of an extended header with *records*."""
    data = b"".join(_record(key, value) for key, value in records.items())
    return _extended_header(kind, len(data)) + data + padding(len(data))


@lru_cache(maxsize=8)  # nearly all have records of the same length
def _extended_header(kind: Type, size: int) -> bytes:
    return TarHeader(kind, b"././@PaxHeader", size).encode()


def _long_name(kind: Type, name: bytes) -> bytes:
    data = name + b"\0"
    return TarHeader(kind, b"././@LongLink", len(data)).encode() + data + padding(len(data))


def _record(key: bytes, value: bytes) -> bytes:
    rest = b" %b=%b\n" % (key, value)
    size = len(rest)
    while (total := len(rest) + len(str(size))) != size:
        size = total
    return b"%d%b" % (size, rest)


def parse_records(data: bytes) -> dict[bytes, bytes]:
    """Return the records of an extended header.  Raises ValueError if they are damaged."""
    records, offset = {}, 0
    while offset < len(data):
        found = _RECORD.match(data, offset)
        end = offset + int(found[1]) if found else 0
        if not found or not found.end() < end <= len(data) or data[end - 1 : end] != b"\n":
            raise ValueError("a record of an extended header is damaged")
        records[found[2]] = data[found.end() : end - 1]
        offset = end
    return records


def show_time(nanoseconds: int) -> bytes:
    """Return a time as records have it: seconds with nine decimals."""
    seconds, rest = divmod(abs(nanoseconds), _SECOND)
    return b"%b%d.%09d" % (b"-" if nanoseconds < 0 else b"", seconds, rest)


def parse_time(text: bytes) -> int:
    """Return the nanoseconds of a time in a record.  Raises ValueError if it is none."""
    found = _TIME.fullmatch(text)
    if not found:
        raise ValueError(f"a record has no valid time: {text[:40]!r}")
    decimals = (found[3] or b"")[:9].ljust(9, b"0")
    nanoseconds = int(found[2]) * _SECOND + int(decimals)
    return -nanoseconds if found[1] else nanoseconds


def padding(size: int) -> bytes:
    """Return the zeros that fill the last block of *size* bytes."""
    return bytes(-size % BLOCK_SIZE)


def _text(field: bytes) -> bytes:
    return field.split(b"\0", 1)[0]


def _number(number: int, size: int) -> bytes:
    """Return the field of *size* bytes for a number."""
    if 0 <= number < 8 ** (size - 1):
        return b"%0*o\0" % (size - 1, number)
    field = bytearray(number.to_bytes(size, "big", signed=True))
    field[0] |= 0x80
    return bytes(field)


def _value(field: bytes) -> int:
    if field[0] & 0x80:
        # the bit says that it is binary; the next one is the sign
        first = field[0] & 0x7F | (field[0] & 0x40) << 1
        return int.from_bytes(bytes([first]) + field[1:], "big", signed=True)
    digits = field.strip(b" \0") or b"0"
    if not digits.isdigit():
        raise ValueError("a number in a header is damaged")
    return int(digits, 8)


def _size(field: bytes) -> int:
    size = _value(field)
    if size < 0:
        raise ValueError("a member has a negative size")
    return size
