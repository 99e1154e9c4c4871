"""Comparison of configurations: do several of them describe one site?

A client of a ZEO server and the server itself do, and so do two that name the same filestorages.
One whose data is elsewhere contradicts another that has a filestorage: the filestorage here may be
that of the site before it moved.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from collective.recipe.backup.errors import ConfigurationError, printable
from collective.recipe.backup.model import Source
from collective.recipe.backup.sitebackup.databases import Configuration, Database
from collective.recipe.backup.sitebackup.servers import is_same

HINT = "say where it is: --zope-conf, --zeo-conf, --datafs or the options of these names"
ELSEWHERE_HINT = (
    "back up where the data is; if a filestorage that lies here is to be backed up all the same, "
    "name it: --zeo-conf, or --datafs and --blob-storage, or the options of these names"
)


def disagreements(found: Sequence[Configuration]) -> Iterator[str]:
    """Yield a warning for each of *found* of which it cannot be told whether it fits.

    Raises ConfigurationError if one has its data elsewhere, and others a filestorage.
    """
    local = [each for each in found if each.sources]
    strange = []
    for each in found if local else ():
        if each.main is not None and not each.sources:
            fits = _fits(each.main, local)
            if fits is None:
                yield (
                    f"{shown(each.path)}: whether its data is {each.main.whereabouts} of this "
                    "machine cannot be told now, so it is taken to be: set zeo_conf to say so"
                )
            elif not fits:
                strange.append(each)
    if strange:
        what = "the configurations here do not mean one site"
        raise contradiction(what, [*local, *strange])


def _fits(main: Database, local: Iterable[Configuration]) -> bool | None:
    """Tell whether a main database without a filestorage may be one that one of *local* serves.

    A demo storage fits to everything: it lies around what another part shows.  None: that
    cannot be told now.
    """
    if main.kind == "demostorage":
        return True
    addresses = [each.address for each in local if each.address is not None]
    answers = {is_same(server, address) for server in main.servers for address in addresses}
    return True if True in answers else None if None in answers else False


def contradiction(what: str, found: Iterable[Configuration]) -> ConfigurationError:
    """Return the error that *found* do not go together, which says of each what it means."""
    return ConfigurationError(what, hint=HINT, problems=[described(each) for each in found])


def described(found: Configuration) -> str:
    """Return in words what a configuration means."""
    if found.sources:
        what = ", ".join(map(_with_blobs, found.sources))
    elif found.main is None:
        what = "it has no filestorage"
    else:
        what = f"the data of its main database is {found.main.whereabouts}"
    return f"{shown(found.path)}: {what}"


def _with_blobs(source: Source) -> str:
    blobs = f"with {shown(source.blobstorage)}" if source.blobstorage else "without blobs"
    return f"{shown(source.filestorage)} {blobs}"


def shown(path: Path) -> str:
    """Return a path as messages have it."""
    return printable(str(path))
