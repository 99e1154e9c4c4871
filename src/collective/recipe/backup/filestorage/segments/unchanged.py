"""The part of a state that a log still has: a comparison by digests, without any segment."""

from __future__ import annotations

from collections.abc import Iterator

from collective.recipe.backup.filestorage.format import MAGIC_SIZE
from collective.recipe.backup.filestorage.log import Log
from collective.recipe.backup.filestorage.segments.chunkstore import Chunks
from collective.recipe.backup.filestorage.segments.logstate import LogState, read_page
from collective.recipe.backup.filestorage.segments.spans import Span, block_digests

_LAST_BYTES = 1 << 20
"""Bytes at the end of a file that are compared where that must suffice."""


def unchanged_spans(state: LogState, chunks: Chunks, log: Log, stop: int) -> Iterator[Span]:
    """Yield the first spans of *state*, up to one that *log* does not have before *stop*.

    Each byte of them is compared.
    """
    offset = MAGIC_SIZE
    for span in state.all_spans(chunks):
        if not _stands(span, offset, log, stop):
            return
        yield span
        offset += span.size


def has_grown(state: LogState, chunks: Chunks, log: Log, stop: int) -> bool:
    """Tell whether *log*, which is the file of *state*, was not changed but only grew.

    That it is the file is known by its device and inode.

    Its first bytes and its last ones are compared.  A pack changes the first transaction.  Other
    programs that change a file and leave it in place change its end.
    """
    if state.size > stop:
        return False
    last = list(state.spans)
    if not last and state.pages:
        last = read_page(chunks, state.pages[-1])
    offset = state.size
    while last and state.size - offset < _LAST_BYTES:
        offset -= last[-1].size
        if not _stands(last.pop(), offset, log, stop):
            return False
    first = next(state.all_spans(chunks), None)
    return first is None or _stands(first, MAGIC_SIZE, log, stop)


def _stands(span: Span, offset: int, log: Log, stop: int) -> bool:
    end = offset + span.size
    return end <= stop and block_digests(log, offset, end) == span.digests
