"""The databases of a ``zope.conf`` or ``zeo.conf``, and the place of the data of each.

::

    <zodb_db main>          a database; that at the mount point / is the main one
      <zeoclient> ...       what holds its data, maybe within others that change nothing about
    </zodb_db>              where that is (blobstorage, zlibstorage, before)

    <filestorage 1> ...     a storage that a ZEO server serves; 1 is the main one

Only a filestorage can be backed up here.  A main database that has its data elsewhere says
that no filestorage which happens to lie here is that of the site.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from collective.recipe.backup.config.resolve import absolute
from collective.recipe.backup.errors import ConfigurationError, printable
from collective.recipe.backup.frozen import dataclass
from collective.recipe.backup.model import MAIN, Source
from collective.recipe.backup.sitebackup.servers import UNKNOWN
from collective.recipe.backup.sitebackup.zconfig import Section, read

MAIN_NAMES = (MAIN, "main")

FILESTORAGE = "filestorage"
CLIENTS = ("zeoclient", "clientstorage")
IN_MEMORY = ("temporarystorage", "mappingstorage")
_DATABASES = ("zodb_db", "zodb")
_ELSEWHERE = {
    # a demo storage lies around what it shows, so it comes first
    "demostorage": "a demo storage, whose changes are meant to be lost",
    "relstorage": "in an SQL database, which is backed up with its own tools",
    **dict.fromkeys(CLIENTS, "on a ZEO server"),
    **dict.fromkeys(IN_MEMORY, "in memory only, and lost when its process ends"),
}
"""Kinds of storages that are no filestorage, and where their data is."""


@dataclass(frozen=True, kw_only=True)
class Database:
    """A database, or a storage that a ZEO server serves."""

    name: str  # of its section; MAIN if that has none
    kind: str  # of the section that holds its data
    is_main: bool = False  # whether its own section says that it is the main one
    source: Source | None = None  # its filestorage; None: it has none
    servers: tuple[str, ...] = ()  # the ZEO servers that it is a client of
    caches: tuple[Path, ...] = ()  # where that client keeps what it has read

    @property
    def whereabouts(self) -> str:
        """The place of its data, in words that follow "its data is"."""
        if self.servers:
            return f"on the ZEO server {printable(' or '.join(self.servers))}"
        unknown = f"in a storage of a kind that is not known here ({printable(self.kind)})"
        return _ELSEWHERE.get(self.kind, unknown)


@dataclass(frozen=True, kw_only=True)
class Configuration:
    """The databases in one file."""

    path: Path  # of the file
    databases: tuple[Database, ...]  # in their order
    main: Database | None  # None: there is no database in it
    address: str | None = None  # where its ZEO server listens; None: it is not of a server

    @property
    def sources(self) -> tuple[Source, ...]:
        """All filestorages, the main one last; none if the main database has no filestorage."""
        if self.main is None or self.main.source is None:
            return ()
        others = (it.source for it in self.databases if it is not self.main and it.source)
        found = self.main.source
        main = Source(name=MAIN, filestorage=found.filestorage, blobstorage=found.blobstorage)
        return (*others, main)

    @property
    def left_out(self) -> Iterator[Database]:
        """The databases besides the main one whose data is kept, and not in a filestorage."""
        for database in self.databases:
            is_kept = database.source is None and database.kind not in IN_MEMORY
            if is_kept and database is not self.main:
                yield database


def read_configuration(path: Path, base: Path) -> Configuration:
    """Return what the file at *path* says.

    Relative paths start at its ``instancehome``, else at *base*.  Raises ConfigurationError if
    it cannot be told which storage is the main one, and BackupError if it cannot be read.
    """
    root = read(path)
    home = base / (root.value("instancehome") or "")
    found = tuple(it for top in root.sections for it in _of_section(top, home, path))
    return Configuration(
        path=path, databases=found, main=_main(found, path), address=_address(root)
    )


def _address(root: Section) -> str | None:
    servers = [section for section in root.sections if section.kind == "zeo"]
    return (servers[0].value("address") or "") if servers else None


def _of_section(top: Section, home: Path, path: Path) -> Iterator[Database]:
    """Yield the database that the section *top* is, if it is one."""
    ways = list(top.walk())
    kinds = {way[-1].kind for way in ways}
    known = next((kind for kind in _ELSEWHERE if kind in kinds), None)
    filestorages = [] if known == "demostorage" else list(_filestorages(ways, home))
    name = top.name or MAIN
    if len(filestorages) > 1 or (filestorages and "/" in name):
        raise _ambiguous(path, [name] * len(filestorages))
    if not (known or filestorages or top.kind in _DATABASES):
        return
    inner = next((way[-1].kind for way in ways[1:]), top.kind)
    yield Database(
        name=name,
        kind=FILESTORAGE if filestorages else known or inner,
        is_main=name in MAIN_NAMES or top.value("mount-point") == "/",
        source=filestorages[0] and _named(filestorages[0], name) if filestorages else None,
        servers=() if filestorages or known not in CLIENTS else tuple(_servers(ways)),
        caches=tuple(_caches(ways, home)),
    )


def _filestorages(ways: Iterable[Sequence[Section]], home: Path) -> Iterator[Source]:
    for way in ways:
        place = way[-1].value("path") if way[-1].kind == FILESTORAGE else None
        if place is not None:
            blobs = next(filter(None, (it.value("blob-dir") for it in reversed(way))), None)
            yield Source(
                name=MAIN,
                filestorage=absolute(home, Path(place)),
                blobstorage=absolute(home, Path(blobs)) if blobs else None,
            )


def _named(source: Source, name: str) -> Source:
    return Source(name=name, filestorage=source.filestorage, blobstorage=source.blobstorage)


def _servers(ways: Iterable[Sequence[Section]]) -> Iterator[str]:
    for way in ways:
        if way[-1].kind in CLIENTS:
            try:
                yield from way[-1].values("server")
            except ConfigurationError:  # it comes from a variable that is not set here
                yield UNKNOWN


def _caches(ways: Iterable[Sequence[Section]], home: Path) -> Iterator[Path]:
    """Yield the files in which ZEO clients keep what they have read, see ZEO.ClientStorage."""
    for section in (way[-1] for way in ways if way[-1].kind in CLIENTS):
        with suppress(ConfigurationError):  # it comes from a variable that is not set here
            path = section.value("cache-path")
            if client := section.value("client"):
                name = f"{client}-{section.value('storage') or '1'}.zec"
                path = path or str(Path(section.value("var") or "", name))
            if path:
                yield absolute(home, Path(path))


def _main(found: Sequence[Database], path: Path) -> Database | None:
    """Return the main one of the databases of a file."""
    kept = [it for it in found if it.kind not in IN_MEMORY] or list(found)
    named = [it for it in kept if it.is_main] or (kept if len(kept) == 1 else [])
    names = [it.name for it in kept]
    if len(set(names)) == len(names) and len(named) == 1:
        return named[0]
    if any(it.source for it in kept):
        raise _ambiguous(path, names)
    return kept[0] if kept else None


def _ambiguous(path: Path, names: Iterable[str]) -> ConfigurationError:
    return ConfigurationError(
        f"cannot tell which storage is the main one: {', '.join(map(printable, names))}",
        where=path,
        hint="set datafs, blob_storage and additional_filestorages",
    )
