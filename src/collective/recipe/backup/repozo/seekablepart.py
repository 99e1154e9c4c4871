"""One data file, read block by block, each compared with its digest.

How a block is come by depends on the file::

    no gzip                     it is read where it stands
    a gzip member for a block   the member is read and inflated, and nothing before it
    any other gzip (repozo's)   it is inflated from the begin, or from a point that was left
                                behind when something was read before (see seekablegzip)

A data file without digests is read once as a whole, compared with the ledger, and its digests
are made then and held.  Where digests are of version 1, members are looked for.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from collective.recipe.backup.errors import IntegrityError, from_os_error
from collective.recipe.backup.filestorage.storedlog import LogRange
from collective.recipe.backup.gzipping import BAD_GZIP, inflate_member
from collective.recipe.backup.repozo.blocks import (
    BLOCK_SIZE,
    DIGEST_SIZE,
    MEMBER,
    digest_of,
    read_blocks,
)
from collective.recipe.backup.repozo.chains import Chain
from collective.recipe.backup.repozo.ledger import Part
from collective.recipe.backup.repozo.members import find_members
from collective.recipe.backup.repozo.partreading import blocks_of, checked
from collective.recipe.backup.seekablegzip import SeekableGzip
from collective.recipe.backup.smallfile import open_regular

_LARGEST_BLOCK = 16 << 20
"""Bytes of a block that may be in memory; digests of larger ones are not used."""
_ATTEMPTS = 2
"""A disk or a memory that fails now and then may fail once."""


class SeekablePart:
    """The data file of *part*, of which single blocks are read.

    It holds some 40 bytes for each block.
    """

    def __init__(self, chain: Chain, part: Part) -> None:
        """Read the digests, or make them.  Raises IntegrityError, BackupError."""
        self._part = part
        self._path = chain.path(part)
        self._good_until = chain.good_until(part)
        blocks = read_blocks(chain.directory, part)
        members: bytes | None = None
        if blocks is not None and blocks.block_size <= _LARGEST_BLOCK:
            self._block_size, self._digests = blocks.block_size, blocks.digests
            members = blocks.members
        else:
            self._block_size = BLOCK_SIZE
            read = blocks_of(checked(chain, part), BLOCK_SIZE)
            self._digests = b"".join(map(digest_of, read))
        self._content = self._content_of(members)

    def _content_of(self, members: bytes | None) -> _Content:
        if not self._part.compressed:
            return _Plain(self._path)
        if members is None:
            with self._reading():
                members = find_members(self._path, self._part.size, self._block_size)
        if members:
            return _Members(self._path, members, self._block_size)
        return SeekableGzip(self._path)

    def begin_of_block(self, offset: int) -> int:
        """Return where the block begins that holds the byte at *offset* of the filestorage."""
        return offset - (offset - self._part.start) % self._block_size

    def begins_after(self, begin: int) -> Sequence[int]:
        """Return where the blocks behind the one at *begin* begin."""
        return range(begin + self._block_size, self._part.end, self._block_size)

    @property
    def may_be_shared(self) -> bool:
        """Tell whether several threads may ask for blocks at the same time."""
        return not isinstance(self._content, SeekableGzip)

    def range_at(self, offset: int) -> LogRange:
        """Return the block that holds the byte at *offset* of the filestorage."""
        begin = self.begin_of_block(offset)
        end = min(begin + self._block_size, self._part.end)
        if self._part.compressed:
            return LogRange(begin, end)
        return LogRange(begin, end, self._path, begin - self._part.start, self._digest_at(begin))

    def _digest_at(self, begin: int) -> bytes:
        at = (begin - self._part.start) // self._block_size * DIGEST_SIZE
        return self._digests[at : at + DIGEST_SIZE]

    def block(self, begin: int) -> bytes:
        """Return the block that begins at byte *begin* of the filestorage.

        Raises IntegrityError, which names the file, if it is not what was backed up.
        """
        size = min(self._block_size, self._part.end - begin)
        expected = self._digest_at(begin)
        flaw = ""
        for _attempt in range(_ATTEMPTS):
            try:
                block = self._read(begin - self._part.start, size)
            except BAD_GZIP as error:
                flaw = f" ({error})"
            else:
                if digest_of(block) == expected:
                    return block
                flaw = ""
        raise IntegrityError(
            f"bytes {begin} to {begin + size} of the filestorage are damaged in it{flaw}",
            where=self._path,
            hint=self._good_until,
        )

    def _read(self, offset: int, size: int) -> bytes:
        with self._reading():
            return self._content.read(offset, size)

    @contextmanager
    def _reading(self) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError:
            raise IntegrityError(
                "the backup is missing", where=self._path, hint=self._good_until
            ) from None
        except OSError as error:
            raise from_os_error(error, "cannot read the backup", self._path) from error


class _Content(Protocol):
    """The bytes of the filestorage that a data file holds."""

    def read(self, offset: int, size: int) -> bytes:
        """Return *size* bytes from *offset* in them on, a block; fewer if they are damaged.

        Raises OSError, and one of BAD_GZIP.
        """


class _Plain:
    """As they stand in the file."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self, offset: int, size: int) -> bytes:
        with open_regular(self._path) as file:
            return os.pread(file.fileno(), size, offset)


class _Members:
    """A gzip member for each block."""

    def __init__(self, path: Path, members: bytes, block_size: int) -> None:
        self._path = path
        self._members = members
        self._block_size = block_size

    def read(self, offset: int, size: int) -> bytes:
        number = offset // self._block_size
        with open_regular(self._path) as file:
            end = os.fstat(file.fileno()).st_size
            begin, end = self._begin(number, end), self._begin(number + 1, end)
            # at most a little more than what it holds
            if not 0 < end - begin <= 2 * self._block_size:
                raise EOFError("its members are not where they should be")
            stored = os.pread(file.fileno(), end - begin, begin)
        return inflate_member(stored, size)

    def _begin(self, number: int, end: int) -> int:
        """Return where the member of that number begins; *end* if there are fewer members."""
        if number * MEMBER.size >= len(self._members):
            return end
        (begin,) = MEMBER.unpack_from(self._members, number * MEMBER.size)
        return int(begin)
