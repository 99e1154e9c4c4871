"""A filestorage as segments of its log, stored once, and states that select from them.

A *segment* is a range of the log as it is, some MiB long.  A *state* describes the filestorage at
one moment: a list of *spans*, each a range of a segment with the rule by which the bytes of the
file come from it.  A pack keeps some records of the log and rewrites their headers by rules, so the
state after a pack needs no new segments, only spans that say which records were kept.

``capture`` makes a state of a live log, ``StateLog`` is the log that a state holds, up to a
moment.
docs/design/selection.rst has the rules and the formats.

Bytes in, bytes out: nothing here knows where chunks are stored, or that they are encrypted.
"""

from __future__ import annotations

from collective.recipe.backup.filestorage.segments.capturing import Captured, capture
from collective.recipe.backup.filestorage.segments.chunkstore import (
    ChunkKind,
    Chunks,
    ChunkStore,
    Linked,
)
from collective.recipe.backup.filestorage.segments.logstate import LogState, read_log_state
from collective.recipe.backup.filestorage.segments.newsegments import Target, record_index_of
from collective.recipe.backup.filestorage.segments.rebuiltlog import RebuiltLog
from collective.recipe.backup.filestorage.segments.segmentkeys import Keys
from collective.recipe.backup.filestorage.segments.statelog import StateLog, StateMoment
from collective.recipe.backup.filestorage.segments.unchanged import has_grown

__all__ = [
    "Captured",
    "ChunkKind",
    "ChunkStore",
    "Chunks",
    "Keys",
    "Linked",
    "LogState",
    "RebuiltLog",
    "StateLog",
    "StateMoment",
    "Target",
    "capture",
    "has_grown",
    "read_log_state",
    "record_index_of",
]
