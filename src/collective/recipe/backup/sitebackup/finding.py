"""Where the site is: what its own configuration says, else the places where sites lie.

::

    1. the zope.conf and zeo.conf that are given
    2. var_dir, if it is given
    3. etc/zope.conf  instance/etc/zope.conf  parts/*/etc/zope.conf
       etc/zeo.conf  parts/*/etc/zeo.conf      all that are there must mean the same
    4. instance/var  var                       of cookieplone and of buildout
    5. /data                                   of the official images of Plone

Relative places start at the base directory.  Nothing is guessed where two things fit.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from collective.recipe.backup.config.resolve import absolute, directory_names
from collective.recipe.backup.errors import ConfigurationError, printable
from collective.recipe.backup.model import MAIN, Source
from collective.recipe.backup.sitebackup.zconfig import Section, read

CONFIGURATIONS = (
    "etc/zope.conf",
    "instance/etc/zope.conf",
    "parts/*/etc/zope.conf",
    "etc/zeo.conf",
    "parts/*/etc/zeo.conf",
)
VARS = ("instance/var", "var")
BLOBSTORAGES = ("blobstorage", "blobs")
"""What a blobstorage in a ``var`` directory is called, by buildout and by cookieplone."""
DATA_FS = Path("filestorage", "Data.fs")

MAIN_NAMES = (MAIN, "main")
_ELSEWHERE = {
    "zeoclient": "on a ZEO server: back up where that runs, or give its zeo.conf",
    "clientstorage": "on a ZEO server: back up where that runs, or give its zeo.conf",
    "relstorage": "in an SQL database, which is backed up with its own tools",
    "demostorage": "a demo storage, whose changes are meant to be lost",
}
"""Kinds of storages that hold no filestorage to back up, and what to say of them."""

HINT = "say where it is: --zope-conf, --zeo-conf, --datafs or the options of these names"


@dataclass(frozen=True, kw_only=True)
class Site:
    """What is known of a site: all its storages, the main one last, and its ``var``.

    *prefix* is where its backups belong if that is not in ``var``.  A source without a
    blobstorage may still have one that was not found.
    """

    sources: tuple[Source, ...]
    var: Path
    prefix: Path | None = None

    @property
    def main(self) -> Source:
        """The main storage."""
        return self.sources[-1]


@dataclass(frozen=True, kw_only=True)
class Places:
    """Where to look.  *image* and *shelf* are what the official images mount."""

    base: Path
    part: str
    zope_conf: Path | None = None
    zeo_conf: Path | None = None
    var: Path | None = None
    image: Path = Path("/data")
    shelf: Path = Path("/backups")

    @property
    def given(self) -> list[Path]:
        """The configuration files that the user has named."""
        return [self.base / path for path in (self.zope_conf, self.zeo_conf) if path]


def find(places: Places, *, datafs: Path | None = None) -> Site:
    """Return the one site that there is; *datafs* is its filestorage if that is known.

    Raises ConfigurationError that lists where was looked, if there is none or not just one.
    """
    if places.given:
        return _configured(places, places.given, needed=True)
    if datafs is not None:
        datafs = absolute(places.base, datafs)
        return _in_var(places, (places.base / places.var) if places.var else _var(datafs), datafs)
    if places.var:
        return _in_var(places, places.base / places.var)
    there = [path for pattern in CONFIGURATIONS for path in sorted(places.base.glob(pattern))]
    notes: list[str] = []
    if there:
        try:
            return _configured(places, there, needed=False)
        except _NothingThere as nothing:
            notes = nothing.notes
    return _in_usual_vars(places, notes)


class _NothingThere(Exception):  # noqa: N818  no error yet: there are other places
    """No configuration file has a filestorage."""

    def __init__(self, notes: list[str]) -> None:
        super().__init__()
        self.notes = notes


# what configuration files say


def _configured(places: Places, paths: Sequence[Path], *, needed: bool) -> Site:
    found: dict[tuple[Source, ...], Path] = {}
    notes: list[str] = []
    for path in paths:
        root = read(path)
        sources = tuple(storages(root, path, places.base))
        if sources:
            found.setdefault(sources, path)
        else:
            notes.append(f"{_shown(path)}: {_why_none(root)}")
    if len(found) > 1:
        raise ConfigurationError(
            "there are two sites here, or more",
            hint=HINT,
            problems=[
                f"{_shown(path)}: {', '.join(_described(source) for source in sources)}"
                for sources, path in found.items()
            ],
        )
    if not found:
        if needed:
            raise ConfigurationError("there is no filestorage to back up", problems=notes)
        raise _NothingThere(notes)
    [sources] = found
    return _site(places, sources, _var(sources[-1].filestorage))


def storages(root: Section, path: Path, base: Path) -> Iterator[Source]:
    """Yield the storages of a configuration file, the main one last.

    Relative paths start at its ``instancehome``, else at *base*.
    """
    home = base / (root.value("instancehome") or "")
    found: dict[str, Source] = {}
    mains: list[str] = []
    for way in root.walk():
        filestorage = way[-1].value("path") if way[-1].kind == "filestorage" else None
        if filestorage is None or any(section.kind == "demostorage" for section in way):
            continue
        top = way[1]
        name = top.name or MAIN
        if name in found or "/" in name:
            raise _ambiguous(path, [*found, name])
        blobs = next(filter(None, (it.value("blob-dir") for it in reversed(way))), None)
        found[name] = Source(
            name=name,
            filestorage=absolute(home, Path(filestorage)),
            blobstorage=absolute(home, Path(blobs)) if blobs else None,
        )
        if top.value("mount-point") == "/" or name in MAIN_NAMES:
            mains.append(name)
    if not found:
        return
    mains = mains or (list(found) if len(found) == 1 else [])
    if len(mains) != 1:
        raise _ambiguous(path, list(found))
    main = found.pop(mains[0])
    yield from found.values()
    yield Source(name=MAIN, filestorage=main.filestorage, blobstorage=main.blobstorage)


def _ambiguous(path: Path, names: Iterable[str]) -> ConfigurationError:
    return ConfigurationError(
        f"cannot tell which storage is the main one: {', '.join(map(printable, names))}",
        where=path,
        hint="set datafs, blob_storage and additional_filestorages",
    )


def _why_none(root: Section) -> str:
    kinds = {section.kind for way in root.walk() for section in way}
    reasons = [reason for kind, reason in _ELSEWHERE.items() if kind in kinds]
    return f"its storage is {reasons[0]}" if reasons else "it has no filestorage"


# where sites lie


def _in_usual_vars(places: Places, notes: list[str]) -> Site:
    nearby = [places.base / var for var in VARS]
    for usable in (_has_data, _has_backups):
        for group in (nearby, [places.image]):
            found = [var for var in group if usable(places, var)]
            if len(found) > 1:
                raise ConfigurationError(
                    "there are two sites here", hint=HINT, problems=[_shown(it) for it in found]
                )
            if found:
                return _in_var(places, found[0])
    looked = [
        *notes,
        *(f"{_shown(places.base / pattern)}: not there" for pattern in CONFIGURATIONS),
        *(f"{_shown(var / DATA_FS)}: not there" for var in (*nearby, places.image)),
    ]
    named = {note.split(": ")[0] for note in notes}
    raise ConfigurationError(
        "no site was found",
        hint=HINT,
        problems=[it for it in looked if it in notes or it.split(": ")[0] not in named],
    )


def _has_data(_places: Places, var: Path) -> bool:
    return os.path.isfile(var / DATA_FS)


def _has_backups(places: Places, var: Path) -> bool:
    """Tell whether there are backups of a site that may be lost itself."""
    location = directory_names(places.part)["location"]
    return os.path.isdir(var) and os.path.isdir((_prefix(places, var) or var) / location)


def _in_var(places: Places, var: Path, datafs: Path | None = None) -> Site:
    there = [var / name for name in BLOBSTORAGES if os.path.isdir(var / name)]
    there = there or list(_backed_up(places, var))
    if len(there) > 1:
        raise ConfigurationError(
            "there are two directories that may be the blobstorage",
            hint="set blob_storage, or backup_blobs = false",
            problems=[_shown(it) for it in there],
        )
    main = Source(
        name=MAIN, filestorage=datafs or var / DATA_FS, blobstorage=there[0] if there else None
    )
    return _site(places, (main,), var)


def _backed_up(places: Places, var: Path) -> Iterator[Path]:
    """Yield where the blobstorage was that there are backups of: it may be lost itself."""
    location = directory_names(places.part)["blobbackuplocation"]
    with suppress(OSError):
        names = {
            name.partition(".")[0] for name in os.listdir((_prefix(places, var) or var) / location)
        }
        yield from (var / name for name in BLOBSTORAGES if name in names)


def _site(places: Places, sources: tuple[Source, ...], var: Path) -> Site:
    return Site(sources=sources, var=var, prefix=_prefix(places, var))


def _prefix(places: Places, var: Path) -> Path | None:
    """Return the volume for backups, where the data lies on that of an official image."""
    return places.shelf if var == places.image and os.path.isdir(places.shelf) else None


def _var(datafs: Path) -> Path:
    directory = datafs.parent
    return directory.parent if directory.name == DATA_FS.parent.name else directory


def _described(source: Source) -> str:
    blobs = f"with {_shown(source.blobstorage)}" if source.blobstorage else "without blobs"
    return f"{_shown(source.filestorage)} {blobs}"


def _shown(path: Path) -> str:
    return printable(str(path))
