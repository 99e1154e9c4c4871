"""The digests beside a data file, thanks to which a backup continues it without reading it again.

``STAMP.blocks`` belongs to the data file of that stamp.  It is a cache: without it, backup,
restore and verify go by the MD5 in the ledger and read more, a copy of an index is used only
if it is of the very end, how a data file is stored is not compared, and a place in one of gzip
is found by reading what is before it.  All numbers are big-endian::

    0   8   magic "CRBBLOCK"
    8   2   version of this format, 2
    10  2   flags: 1 an index digest is there, 2 the packed tid is known, 4 members are listed
    12  4   size of a block in bytes
    16  8   start } of the part
    24  8   end   }
    32  8   st_dev } of the filestorage that
    40  8   st_ino } these bytes were read from
    48  8   offset of the last transaction that ends at or before *end*
    56  8   the greatest tid up to *end*, which is its tid but for odd logs (zeros: none)
    64  8   the greatest tid up to *end* that a pack rewrote (zeros: none)
    72  8   size in bytes  } of the data file
    80  32  BLAKE3         } as it is stored
    112 32  BLAKE3 of STAMP.index
    144 16  MD5 of the part, as the ledger has it
    160 32 * n  BLAKE3 of each block of the part, n = (end - start) / size of a block, rounded up
    ..  8 * n   offset in the data file where the gzip member of each block begins, with flag 4
    ..  32  BLAKE3 of all bytes before

Without flag 4 the data file is not a gzip member for each block: it is no gzip, or another
program wrote it.  Version 1 has no members and does not know of flag 4; a backup that continues
the chain completes it (see members).
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from blake3 import blake3

from collective.recipe.backup.errors import BackupError, IntegrityError, explained
from collective.recipe.backup.files import Files
from collective.recipe.backup.filestorage.log import Log
from collective.recipe.backup.filestorage.logcut import LogEnd
from collective.recipe.backup.frozen import dataclass
from collective.recipe.backup.repozo.chains import Chain
from collective.recipe.backup.repozo.ledger import STAMP_SIZE, Part, write_ledger
from collective.recipe.backup.smallfile import read_small, regular
from collective.recipe.backup.times import LAST_TID, ZERO_TID, Tid

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

BLOCK_SIZE = 1 << 20
DIGEST_SIZE = 32
LIMIT = 80 << 20
"""Bytes that a file of digests may have: those of a data file of 2 TB."""
MEMBER = struct.Struct(">Q")
"""A number in the file: offset in the data file of a gzip member."""
VERSION = 2
WITHOUT_MEMBERS = 1
"""The version before members were listed."""

_MAGIC = b"CRBBLOCK"
_HEADER = struct.Struct(">8sHHIQQQQQ8s8sQ32s32s16s")
# no check of input, but of the table above
assert _HEADER.size == 160  # noqa: S101

_HAS_INDEX = 1
_KNOWS_PACKED = 2
_LISTS_MEMBERS = 4


@dataclass(frozen=True, kw_only=True)
class Written:
    """A data file that is there."""

    checksum: str  # MD5 in hex of the bytes of the filestorage in it
    digests: bytes  # BLAKE3 of each block of them, one after the other
    members: bytes  # as in Blocks
    stored: int  # bytes of the file
    stored_digest: bytes  # BLAKE3 of the file


@dataclass(frozen=True, kw_only=True)
class Blocks:
    """The content of ``STAMP.blocks``."""

    start: int  # first byte in the filestorage
    end: int  # byte after the last one
    checksum: str  # MD5 of the part, in hex
    identity: tuple[int, int]  # st_dev and st_ino of the filestorage
    begin: int  # offset of the last transaction up to *end*
    tid: Tid  # greatest tid up to *end*
    packed: Tid | None  # greatest tid that a pack rewrote; ZERO_TID: none; None: unknown
    stored: int  # bytes of the data file
    stored_digest: bytes  # BLAKE3 of the data file
    index: bytes | None  # BLAKE3 of the copied index; None: no copy
    digests: bytes  # BLAKE3 of each block of the part
    members: bytes | None = None
    """A MEMBER for each block; b"": the data file has no such members; None: unknown (version 1).
    """
    block_size: int = BLOCK_SIZE  # bytes

    def ranges(self, first: int = 0) -> Iterator[tuple[int, int, bytes]]:
        """Yield offset in the filestorage, size and digest of each block from *first* on.

        A negative *first* counts from the end.
        """
        offsets = range(self.start, self.end, self.block_size)
        for number in range(len(offsets))[first:]:
            start = offsets[number]
            size = min(self.block_size, self.end - start)
            yield start, size, self.digests[number * DIGEST_SIZE : (number + 1) * DIGEST_SIZE]

    def fits(self, part: Part) -> bool:
        """Tell whether these are digests of *part*, and not of a file from before a merge.

        Then the digests of its blocks prove as much as the checksum in the ledger.
        """
        return (self.start, self.end, self.checksum) == (part.start, part.end, part.checksum)


def digest_of(block: bytes) -> bytes:
    """Return the digest of one block."""
    return blake3(block).digest()


class Digested(io.RawIOBase):
    """A file whose bytes are passed to a reader, while its size and BLAKE3 are computed."""

    def __init__(self, path: Path) -> None:
        """Open *path*.  Raises OSError."""
        self._file = io.FileIO(path, opener=regular)
        self._size, self._digest = 0, blake3()

    def readable(self) -> bool:
        """Return True: the file can be read."""
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        """Fill *buffer* as far as there are bytes; return how many there were."""
        view = memoryview(buffer).cast("B")
        size = self._file.readinto(view) or 0
        self._digest.update(view[:size])
        self._size += size
        return size

    def finish(self) -> tuple[int, bytes]:
        """Return size and BLAKE3 of the whole file, of which nothing more is wanted."""
        while self.read(BLOCK_SIZE):
            pass
        return self._size, self._digest.digest()

    def close(self) -> None:
        """Close the file."""
        self._file.close()
        super().close()


def stored_as(path: Path) -> tuple[int, bytes]:
    """Return size and BLAKE3 of the file *path*, as it is on the disk."""
    with explained("cannot read the backup", path), Digested(path) as file:
        return file.finish()


def blocks_path(directory: Path, name: str) -> Path:
    """Return the path of the digests of the data file called *name*."""
    return directory / f"{name[:STAMP_SIZE]}.blocks"


def describe(
    part: Part,
    written: Written,
    *,
    identity: tuple[int, int],
    at: LogEnd,
    index: bytes | None = None,
) -> Blocks:
    """Return the digests of *part*, whose last transaction is that of *at*."""
    return Blocks(
        start=part.start,
        end=part.end,
        checksum=written.checksum,
        identity=identity,
        begin=at.begin,
        tid=at.tid or ZERO_TID,
        packed=at.packed,
        stored=written.stored,
        stored_digest=written.stored_digest,
        index=index,
        digests=written.digests,
        members=written.members,
    )


def pack(blocks: Blocks) -> bytes:
    """Return the bytes of a ``.blocks`` file, of version 1 if nothing is known of members."""
    flags = _HAS_INDEX * (blocks.index is not None) | _KNOWS_PACKED * (blocks.packed is not None)
    flags |= _LISTS_MEMBERS * bool(blocks.members)
    header = _HEADER.pack(
        _MAGIC,
        WITHOUT_MEMBERS if blocks.members is None else VERSION,
        flags,
        blocks.block_size,
        blocks.start,
        blocks.end,
        *(number % 2**64 for number in blocks.identity),
        blocks.begin,
        blocks.tid,
        blocks.packed or ZERO_TID,
        blocks.stored,
        blocks.stored_digest,
        blocks.index or bytes(DIGEST_SIZE),
        bytes.fromhex(blocks.checksum),
    )
    data = header + blocks.digests + (blocks.members or b"")
    return data + blake3(data).digest()


def unpack(data: bytes) -> Blocks:
    """Return what the bytes of a ``.blocks`` file say.  Raises ValueError with the reason."""
    if len(data) < _HEADER.size + DIGEST_SIZE or data[:8] != _MAGIC:
        raise ValueError("it is no such file")
    if blake3(memoryview(data)[:-DIGEST_SIZE]).digest() != data[-DIGEST_SIZE:]:
        raise ValueError("its own checksum does not fit")
    (_, version, flags, block_size, start, end, device, inode, begin, tid, packed, stored,
     stored_digest, index, checksum) = _HEADER.unpack_from(data)  # fmt: skip
    if not WITHOUT_MEMBERS <= version <= VERSION:
        raise ValueError(f"its version is {version}, this program knows {VERSION}")
    count = -(-(end - start) // block_size) if block_size else 0
    members_at = _HEADER.size + count * DIGEST_SIZE
    digests, members = data[_HEADER.size : members_at], data[members_at:-DIGEST_SIZE]
    listed = version > WITHOUT_MEMBERS and bool(flags & _LISTS_MEMBERS)
    if not block_size or len(digests) != count * DIGEST_SIZE:
        raise ValueError("it does not have a digest for each block")
    if len(members) != listed * count * MEMBER.size:
        raise ValueError("it does not have a member for each block")
    return Blocks(
        start=start,
        end=end,
        checksum=checksum.hex(),
        identity=(device, inode),
        begin=begin,
        tid=Tid(tid),
        packed=Tid(packed) if flags & _KNOWS_PACKED else None,
        stored=stored,
        stored_digest=stored_digest,
        index=index if flags & _HAS_INDEX else None,
        digests=digests,
        members=members if version > WITHOUT_MEMBERS else None,
        block_size=block_size,
    )


def read_blocks(directory: Path, part: Part) -> Blocks | None:
    """Return the digests of *part*; None if they are lost, damaged or of another part.

    Digests that cannot be read are lost.  That is no error, for they are a cache; see check_blocks
    for a check of them.
    """
    try:
        return check_blocks(directory, part)
    except BackupError:
        return None


def greatest_tid(directory: Path, parts: Sequence[Part], log: Log) -> Tid | None:
    """Return the greatest tid in *parts*, the first of a chain; None if there is none.

    *log* begins with their bytes, and is walked where no digests tell it, as after repozo.
    """
    if not parts:
        return None
    blocks = read_blocks(directory, parts[-1])
    if blocks is None:
        return log.cut(LAST_TID, stop=parts[-1].end).tid
    return blocks.tid if blocks.tid != ZERO_TID else None


def known_packed(chain: Chain) -> Tid | None:
    """Return the greatest tid in *chain* that a pack rewrote; as Blocks.packed."""
    if not chain.parts:
        return ZERO_TID
    blocks = read_blocks(chain.directory, chain.last)
    return blocks.packed if blocks else None


def check_blocks(directory: Path, part: Part) -> Blocks | None:
    """Return the digests of *part*; None if there are none of it.

    Raises IntegrityError if there are some, but damaged, BackupError if they cannot be read.
    """
    path = blocks_path(directory, part.name)
    with explained("cannot read the digests of a backup", path):
        data = read_small(path, LIMIT)
    if data is None:
        return None
    try:
        blocks = unpack(data)
    except ValueError as error:
        raise IntegrityError(f"the digests of a backup are damaged ({error})", where=path) from None
    return blocks if blocks.fits(part) else None


def publish(chain: Chain, part: Part, blocks: Blocks, files: Files) -> None:
    """Make *part*, whose file is there already, the next of *chain*: digests, then ledger."""
    write_blocks(chain.directory, part, blocks, files)
    write_ledger(chain.directory, chain.stamp, [*chain.parts, part], files)


def write_blocks(directory: Path, part: Part, blocks: Blocks, files: Files) -> None:
    """Write the digests of *part*, in one step."""
    path = blocks_path(directory, part.name)
    with explained("cannot write the digests of a backup", path):
        files.write(path, pack(blocks))
