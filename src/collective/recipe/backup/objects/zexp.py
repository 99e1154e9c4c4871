"""An export of objects as ZODB's ``importFile`` takes it.  Pure.

::

    export   = "ZEXP" record* end
    record   = oid, length of the data (8 bytes, big-endian), data, blob?
    blob     = 0, "BLOBSTART", length of the blob (8 bytes), the blob
    end      = 16 bytes of 0xff

The first record is that of the object which was asked for.  ZODB gives each oid that it meets a new
one, even if no record follows for it, and such a reference would lead to nothing. So a reference to
an object outside the export is *cut*: None is in its place. A weak reference is cut as well,
because the import does not know any.
"""

from __future__ import annotations

import pickletools
import struct
from collections.abc import Callable, Iterator

from collective.recipe.backup.filestorage.pickles import decompressed
from collective.recipe.backup.model import Oid
from collective.recipe.backup.objects.inert import (
    OtherDatabase,
    Reference,
    UnreadableStateError,
    all_references,
)

BEGIN = b"ZEXP"
END = b"\xff" * 16
BLOB = b"\0BLOBSTART"
LENGTH = struct.Struct(">Q")

_NONE = b"0N"
"""Instructions that remove the persistent id on top of the stack, and push None."""


def head_of(oid: Oid, data: bytes) -> bytes:
    """Return what stands before the *data* of a record."""
    return oid + LENGTH.pack(len(data))


def with_cuts(
    data: bytes, keep: Callable[[Reference], bool]
) -> tuple[bytes, list[Reference | OtherDatabase]]:
    """Return the *data* of a record without the references that are not to *keep*, and those.

    Raises UnreadableStateError.
    """
    found = all_references(data)
    is_kept = [isinstance(each, Reference) and not each.is_weak and keep(each) for each in found]
    plain = decompressed(data)
    if all(is_kept):
        return plain, []
    try:
        loads = list(_loads(plain))
    except ValueError as error:  # the standard library knows no class but in ASCII
        raise UnreadableStateError(f"its references cannot be found: {error}") from error
    if len(loads) != len(found):
        raise UnreadableStateError("its references cannot be told apart")
    parts, end = [], 0
    for (begin, size), kept in zip(loads, is_kept, strict=True):
        if not kept:
            parts += [plain[end:begin], _NONE]
            end = begin + size
    parts.append(plain[end:])
    return b"".join(parts), [each for each, kept in zip(found, is_kept, strict=True) if not kept]


def _loads(plain: bytes) -> Iterator[tuple[int, int]]:
    """Yield where each instruction stands that loads a reference, and its length.

    Raises UnreadableStateError for pickles in frames, whose length would be another one; ZODB
    writes none.
    """
    begin = 0
    for _pickle in range(2):
        last = begin
        for opcode, _argument, at in pickletools.genops(plain[begin:]):
            if opcode.name in {"FRAME", "PERSID"}:
                raise UnreadableStateError("its references stand in a form that ZODB never writes")
            if opcode.name == "BINPERSID":
                yield begin + (at or 0), 1
            last = begin + (at or 0) + 1
        begin = last
