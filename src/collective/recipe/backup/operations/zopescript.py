"""Brings an object back into a Zope site.  The last lines say which, and do it.

Run it with the Zope of the site: ``bin/instance run FILE``, with ``--dry-run`` behind it to be
told only what it would do.  It looks for conflicts first, and writes nothing if there is one.
All is done in one transaction.  To run it twice does no harm: the name is taken then.
"""

from __future__ import annotations

import os
from typing import Any

try:
    from Acquisition import aq_base
except ImportError:  # no Zope, but ZODB alone: nothing is acquired

    def aq_base(found: Any) -> Any:
        """Return *found*, which no acquisition wraps."""
        return found


INDEXING = ("indexObject", "index_object", "reindexObject")
"""How objects tell the catalogue of themselves, the best first: the last changes their date."""


def conflicts(app: Any, export: str, above: list[str], name: str) -> list[str]:
    """Return what is in the way; nothing, and the object can come back.

    *above* are the names that lead from *app* to the folder, *name* is that in the folder.
    """
    found = [] if os.path.isfile(export) else [f"there is no export {export!r}"]
    folder, missing = followed(app, above)
    if missing:
        return [*found, f"the parent is gone: there is no {missing!r}; bring it back instead"]
    base = aq_base(folder)
    if not hasattr(base, "_setObject") and not hasattr(base, "__setitem__"):
        return [*found, f"the parent is no folder, but a {type(base).__name__}"]
    if part(folder, name) is not None:
        return [*found, f"the name is taken: there is a {name!r} in the folder"]
    return [*found, *refused(folder, name)]


def refused(folder: Any, name: str) -> list[str]:
    """Return why a folder of Zope does not take *name*."""
    if not hasattr(aq_base(folder), "_checkId"):
        return []
    from zExceptions import BadRequest

    try:
        folder._checkId(name)
    except BadRequest as error:
        return [f"the folder does not take the name {name!r}: {error}"]
    return []


def followed(app: Any, names: list[str]) -> tuple[Any, str]:
    """Return what *names* lead to, and the path of the first that is missing, or nothing.

    The last site on the way is made the current one: it has the catalogue.
    """
    found = app
    for number, name in enumerate(names, 1):
        found = part(found, name)
        if found is None:
            return None, "/" + "/".join(names[:number])
        enter(found)
    return found, ""


def part(folder: Any, name: str) -> Any:
    """Return what *folder* itself has under *name*, None if it has nothing; nothing is acquired."""
    base = aq_base(folder)
    if hasattr(base, "_getOb"):
        return folder._getOb(name, None)
    if hasattr(base, "__getitem__") and hasattr(base, "__contains__") and name in base:
        return folder[name]
    return None


def enter(found: Any) -> None:
    """Make *found* the current site, if it is one."""
    try:
        from zope.component.hooks import setSite
        from zope.component.interfaces import ISite
    except ImportError:
        return
    if ISite.providedBy(found):
        setSite(found)


def bring_back(app: Any, export: str, above: list[str], name: str, note: str) -> int:
    """Import the export, set it into its folder, tell the catalogue; return how many it was told.

    The owner of the object stays, and no date of it is set here.  Raises ImportError if a class
    is not here; nothing is written then, nor after any other error.
    """
    folder, _missing = followed(app, above)
    connection = folder._p_jar
    current = connection.transaction_manager
    try:
        found = imported(connection, export)
        found._p_activate()
        is_orphan = getattr(found, "__dict__", {}).get("__parent__", folder) is None
        put(folder, name, found)
        if is_orphan:  # the export has none, for it leads out of the object
            found.__parent__ = aq_base(folder)
        told = index(part(folder, name))
        current.get().note(note)
        current.commit()
    except BaseException:
        current.abort()
        raise
    return told


def imported(connection: Any, export: str) -> Any:
    """Return the object that is in the export, with new oids."""
    try:
        return connection.importFile(export)
    except (AttributeError, ImportError) as error:
        raise ImportError(f"this Zope lacks a class of what is in {export!r}: {error}") from error


def put(folder: Any, name: str, found: Any) -> None:
    """Set *found* into *folder*; its owner stays the one that it has."""
    if hasattr(aq_base(folder), "_setObject"):
        folder._setObject(name, found, set_owner=0)
    else:
        folder[name] = found


def index(found: Any) -> int:
    """Tell the catalogue of *found* and of what it contains; return how many have one."""
    left, told = [found], 0
    while left:
        each = left.pop()
        base = aq_base(each)
        way = next((way for way in INDEXING if hasattr(base, way)), None)
        if way:
            getattr(each, way)()
            told += 1
        if hasattr(base, "objectValues"):
            left.extend(each.objectValues())
    return told
