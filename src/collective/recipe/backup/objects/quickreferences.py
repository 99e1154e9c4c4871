"""Reads the references of a record from the bytes of its two pickles.

ZODB writes a reference as an oid, a class, a tuple of both, and what loads an object by that; each
may be put into the memo on the way::

    C 8 oid | GLOBAL module name, or BINGET | TUPLE2 | BINPERSID

All instructions are parsed and none is run, so bytes within a text are never taken for a
reference.  References in any other form, or to a parent, are left to ``inert``, which takes ten
times as long.
"""

from __future__ import annotations

import functools
import re
import zlib

from collective.recipe.backup.filestorage.pickles import (
    decompressed,
    one_of,
    over_text,
    texts,
)
from collective.recipe.backup.model import Oid

_UPWARD = (b"_parent", b"aq_base")
"""A part of each name of references.UPWARD."""
_STOP = b"."
_PICKLES = 2


def oids_in(data: bytes) -> list[Oid] | None:
    """Return what the *data* of a record refer to; None: that cannot be told so quickly."""
    try:
        plain = decompressed(data)
        if any(each in plain for each in _UPWARD):
            return None
        return _oids_in(plain)
    except (zlib.error, ValueError, IndexError):
        return None


def _oids_in(plain: bytes) -> list[Oid] | None:
    found: list[Oid] = []
    match, at, stops, end = _instructions().match, 0, 0, len(plain)
    while at < end:
        some = match(plain, at)
        if some is None:
            after = over_text(plain, at)
            if after is None:
                return None
            at = after
            continue
        if some[1]:
            found.append(Oid(some[1]))
        at = some.end()
        if plain[at : at + 1] == _STOP:
            stops += 1
            at += 1
    return found if stops == _PICKLES and plain[-1:] == _STOP else None


@functools.cache
def _instructions() -> re.Pattern[bytes]:
    """Return what matches a reference, or else as many instructions as are not part of one."""
    memo = rb"(?:q.|r.{4})?"
    oid = rb"[CU]\x08(.{8})" + memo
    kind = rb"(?:c[^\n]*\n[^\n]*\n|h.|j.{4})" + memo
    reference = oid + kind + rb"\x86" + memo + b"Q"
    other = one_of(b"QPCU", to_be_run=False)
    return re.compile(
        rb"%b|(?:%b|[CU](?!\x08)(?:%b))+|[CU]\x08.{8}" % (reference, other, texts(width=1)),
        re.DOTALL,
    )
