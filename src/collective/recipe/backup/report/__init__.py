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
    """What there is to tell of one storage.

    *decisions* are what retention makes of its restore points, *next_gone* the stamps of
    those that the next full backup would make go.
    """

    source: Source
    points: Sequence[RestorePoint]
    ranges: Sequence[Range]
    decisions: Sequence[Decision]
    next_gone: frozenset[str]


@dataclass(frozen=True, kw_only=True)
class Tile:
    """One fact at the top of the page: its name, its value and a word more about it."""

    name: str
    value: str
    more: str = ""


@dataclass(frozen=True, kw_only=True)
class PageFacts:
    """All that the page says of one place of the backups."""

    host: str  # on which the page was made
    site: Path  # the directory of the site
    part: str
    destination: str
    place: str = ""  # what the place is called; "": that goes without saying
    now: datetime
    tiles: Sequence[Tile]
    findings: Sequence[tuple[str, str]]  # a word for how bad it is, and the words
    tales: Sequence[Tale]
    records: Sequence[RunRecord]  # the runs with this destination, oldest first
    restores: Sequence[RunRecord] = ()  # of the live site, from whatever destination, oldest first
