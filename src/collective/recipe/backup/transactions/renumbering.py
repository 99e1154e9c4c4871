"""Oids that ``undelete`` had to replace, as its transaction tells.  Pure, or reads a ``Log``.

An object that comes back gets a new oid where its old one is not free.  The script that brings it
back writes which for which into the extension of its transaction, as one text of ASCII::

    "backup-undelete:" base64 of zlib of pairs ";"
    pair = old oid, new oid          8 bytes each, less those of the pair before, modulo 2 ** 64

The extension is a pickle, and the text is found in it as it stands: nothing is unpickled.
"""

from __future__ import annotations

import base64
import binascii
import re
import struct
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import NamedTuple

from collective.recipe.backup.filestorage.format import TRANSACTION
from collective.recipe.backup.filestorage.log import Log
from collective.recipe.backup.model import Oid
from collective.recipe.backup.transactions.coverage import EVERYTHING, Stretch
from collective.recipe.backup.transactions.logged import transactions_in

MOST = 100_000
"""Pairs that are held, some 400 bytes each: memory must not grow with what strangers wrote."""

_TEXT = re.compile(rb"backup-undelete:([A-Za-z0-9+/]+={0,2});")
_PAIR = struct.Struct(">QQ")
_LARGEST = 4 << 20
"""Bytes of the pairs of a transaction: the extension has 64 kB at most."""
_OIDS = 1 << 64


class Renumbered(NamedTuple):
    """An object that came back under another oid."""

    old: Oid  # oid that it had
    new: Oid  # oid that it has since


def renumbered_by(extension: bytes) -> Iterator[Renumbered]:
    """Yield what the *extension* of a transaction tells; nothing if it is of another kind."""
    found = _TEXT.search(extension)
    if found is None:
        return
    try:
        pairs = zlib.decompressobj().decompress(base64.b64decode(found[1]), _LARGEST)
    except (binascii.Error, zlib.error):
        return
    old = new = 0
    for more_old, more_new in _PAIR.iter_unpack(pairs[: len(pairs) // _PAIR.size * _PAIR.size]):
        old, new = (old + more_old) % _OIDS, (new + more_new) % _OIDS
        yield Renumbered(Oid(old.to_bytes(8, "big")), Oid(new.to_bytes(8, "big")))


def renumberings(log: Log, gaps: Sequence[Stretch] = (EVERYTHING,)) -> Iterator[Renumbered]:
    """Yield what the transactions of *log* in *gaps* tell; no data record is read.

    Raises IntegrityError if the log is damaged.
    """
    window = log.window()
    for transaction in transactions_in(log, gaps):
        size = transaction.records - transaction.begin
        if size == TRANSACTION.size or transaction.undone:
            continue
        index = window.at(transaction.begin, size)
        extension = TRANSACTION.unpack_from(window.data, index)[-1]
        if extension:
            end = index + size
            yield from renumbered_by(window.data[end - extension : end])


class Lives:
    """The oids under which each object was kept, one after the other."""

    def __init__(self, found: Iterable[Renumbered]) -> None:
        """Take MOST of what was *found*."""
        self._before: dict[Oid, Oid] = {}
        self._after: dict[Oid, list[Oid]] = {}
        for each in islice(found, MOST):
            self._before[each.new] = each.old
            self._after.setdefault(each.old, []).append(each.new)

    def of(self, oids: Iterable[Oid]) -> frozenset[Oid]:
        """Return *oids*, those that the objects had before, and those that they have since."""
        asked = frozenset(oids)
        earlier = self._reached(asked, lambda oid: filter(None, [self._before.get(oid)]))
        later = self._reached(asked, lambda oid: self._after.get(oid, ()))
        return asked | earlier | later

    def _reached(
        self, oids: frozenset[Oid], following: Callable[[Oid], Iterable[Oid]]
    ) -> frozenset[Oid]:
        found = set(oids)
        left = list(oids)
        while left:
            for each in following(left.pop()):
                if each not in found:
                    found.add(each)
                    left.append(each)
        return frozenset(found)
