"""The layout of a repository in the directories of a grid.

::

    ROOT/                       the directory that the user names
        writer-ID/              what one node has written, and none else changes
            m_p-2026...         an object of one or two parts: m/p-2026...
            bundles_a/          objects of three or four parts, by their first digit
                bundles_ab_ab12...
            removed.ID.MICROSECONDS.m_p-2026...
            Archives/           what belongs to each restore point
            Latest/             what belongs to the newest one

In the name of a child ``_`` stands for ``/``, which a path would take for a directory.

A directory of a grid must not be changed by two nodes at a time, so each has its own.  An
object that another node has written is removed by a *removal*: a child whose name says of whom
it was, since when it is there, and what it is called.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from typing import Any, NamedTuple

from collective.recipe.backup.stores import is_name

WRITER = "writer-"
"""First part of the names of the directories of writers."""

ARCHIVES, LATEST = "Archives", "Latest"
"""Names of the directories of views, in the directory of a writer; see ``gridviews``."""

_REMOVED = "removed"
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_FEW = 2
"""Parts of names of which there are few: such an object lies in the directory of its writer."""


class GridDirectory(NamedTuple):
    """One directory of a grid, as it was when it was read."""

    writing: str  # a capability that may change it; "": we have none
    reading: str  # a capability that may read it
    children: Mapping[str, Any]  # by name, as the node describes them

    @property
    def best(self) -> str:
        """The capability to read it with: a node keeps reads and writes apart by it."""
        return self.writing or self.reading


class GridObject(NamedTuple):
    """One object, as it lies in the directory of one writer."""

    name: str  # name of the object
    stored: datetime  # by the clock of the node that wrote it
    size: int  # bytes
    capability: str  # that reads it
    writer: str  # whose it is
    shelf: str  # the name of the directory in that of the writer; "": that of the writer

    @property
    def removal(self) -> str:
        """The name of the child that records that this object was removed."""
        microseconds = (self.stored - _EPOCH) // timedelta(microseconds=1)
        return f"{_REMOVED}.{self.writer}.{microseconds}.{child_of(self.name)}"


def child_of(name: str) -> str:
    """Return the name of the child that holds the object *name*."""
    return name.replace("/", "_")


def shelf_of(name: str) -> str:
    """Return the directory of an object in that of its writer; "": it lies in that itself."""
    parts = name.split("/")
    return f"{parts[0]}_{parts[1][0]}" if len(parts) > _FEW else ""


def may_hold(shelf: str, prefix: str) -> bool:
    """Tell whether names that begin with *prefix* may lie in the directory *shelf*."""
    if shelf in {ARCHIVES, LATEST}:
        return False
    begin = shelf.replace("_", "/")
    return begin.startswith(prefix) or prefix.startswith(begin)


def directory_of(described: Any) -> GridDirectory | None:
    """Return the directory that a node *described*, None if it is something else."""
    try:
        kind, about = described
        if kind != "dirnode":
            return None
        return GridDirectory(about.get("rw_uri", ""), about["ro_uri"], about.get("children", {}))
    except (ValueError, TypeError, KeyError, AttributeError):
        return None


def object_of(child: str, described: Any, writer: str, shelf: str) -> GridObject | None:
    """Return the object that a node *described*, None if it is none of ours."""
    name = child.replace("_", "/")
    try:
        kind, about = described
        if kind != "filenode" or about["mutable"] or not is_name(name):
            return None
        since = about["metadata"]["tahoe"]["linkcrtime"]
        stored = _EPOCH + timedelta(microseconds=round(since * 1e6))
        return GridObject(name, stored, int(about["size"]), about["ro_uri"], writer, shelf)
    except (ValueError, TypeError, KeyError, OverflowError):
        return None


def is_removal(child: str) -> bool:
    """Tell whether a child of the directory of a writer is a removal."""
    return child.startswith(f"{_REMOVED}.")
