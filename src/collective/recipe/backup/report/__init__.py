"""The report: one page of HTML about the backups of a part, whole in itself.

It needs no network and no script, so it can be mailed, or lie anywhere::

    page    the sections of the page, from facts to text
    plots   the plots, as SVG
    axes    where moments and amounts lie on a plot
    markup  elements and attributes; the only room that escapes, so nothing else has to
    words   for what the history calls by a key
    style   how it looks: light and dark, on a desk and on a phone

Nothing here looks at a disk or a clock: ``PageFacts`` say it all, one for each place.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from collective.recipe.backup.frozen import dataclass
from collective.recipe.backup.history import RunRecord
from collective.recipe.backup.model import RestorePoint, Source
from collective.recipe.backup.restorepoints import Range
from collective.recipe.backup.retention import Decision


@dataclass(frozen=True, kw_only=True)
class Tale:
    """The facts of one storage for the page."""

    source: Source  # the storage
    points: Sequence[RestorePoint]  # oldest first
    ranges: Sequence[Range]  # spans of time of which any moment can be restored
    decisions: Sequence[Decision]  # of retention, one for each restore point
    next_gone: frozenset[str]  # stamps of those that the next full backup would remove


@dataclass(frozen=True, kw_only=True)
class Tile:
    """One fact at the top of the page."""

    name: str  # heading
    value: str  # large text
    more: str = ""  # text below; "": none


@dataclass(frozen=True, kw_only=True)
class PageFacts:
    """The facts of one place of the backups for the page."""

    host: str  # on which the page was made
    site: Path  # the directory of the site
    part: str  # name of the part
    destination: str  # purpose, as in the history
    place: str = ""  # name of the place; "": it is the only one
    now: datetime  # by the clock
    tiles: Sequence[Tile]  # facts at the top
    findings: Sequence[tuple[str, str]]  # a word for how bad it is, and the words
    tales: Sequence[Tale]  # one for each storage
    records: Sequence[RunRecord]  # the runs with this destination, oldest first
    restores: Sequence[RunRecord] = ()  # of the live site, from whatever destination, oldest first
