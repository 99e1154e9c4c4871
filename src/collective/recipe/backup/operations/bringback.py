"""One thing back into the live site: its export, and a script for the Zope of the site.

Only these two files are written here.  The site is changed by the script, in the process that
runs it: Zope has the classes, the catalogue and the lock of the site.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from collective.recipe.backup import process
from collective.recipe.backup.errors import UsageError, printable
from collective.recipe.backup.files import Files
from collective.recipe.backup.model import MAIN
from collective.recipe.backup.objects.inert import UnreadableStateError
from collective.recipe.backup.objects.paths import Location
from collective.recipe.backup.objects.subtree import Subtrees
from collective.recipe.backup.objects.whereabouts import Elsewhere, held_now
from collective.recipe.backup.operations.extract import Extracted, extract
from collective.recipe.backup.operations.objects import (
    OpenedObjects,
    opened_objects,
    storage_number,
)
from collective.recipe.backup.operations.run import Run
from collective.recipe.backup.smallfile import open_regular

_FUNCTIONS = Path(__file__).with_name("zopescript.py")

_UID = "_plone.uuid"
"""The attribute in which Plone keeps it."""

_END = """\


EXPORT = {export}
ABOVE = {above}
NAME = {name}
UID = {uid}
NOTE = {note}

if __name__ == "__main__":
    import sys

    found = conflicts(app, EXPORT, ABOVE, NAME, UID)
    if found:
        raise SystemExit("\\n".join(["nothing is written:", *found]))
    print(plan(app, EXPORT, ABOVE, NAME))
    if "--dry-run" in sys.argv:
        print("dry run: nothing was written")
    else:
        told = bring_back(app, EXPORT, ABOVE, NAME, NOTE)
        print(f"it is back; the catalogue was told of {{told}} of its objects")
"""


class WrittenScript(NamedTuple):
    """The files that bring something back."""

    export: Path  # file with the objects
    script: Path  # file that the Zope of the site runs
    extracted: Extracted  # numbers of what the export holds


def write(opened: OpenedObjects, place: Location, export: Path, files: Files) -> WrittenScript:
    """Write the object at *place* to *export*, and beside it the script that brings it back.

    Raises as ``extract`` does.
    """
    extracted = extract(opened, place, export, files)
    script = script_of(export)
    with files.writing(script) as writer:
        writer.write(script_for(export, place.path, uid_of(place)).encode())
    return WrittenScript(export, script, extracted)


def parts_elsewhere(
    run: Run, opened: OpenedObjects, place: Location, storage: str = MAIN
) -> list[Elsewhere]:
    """Return the parts of the object at *place* that live elsewhere now: they come back as copies.

    Raises UsageError if it was moved itself. Returns none if the live filestorage
    is not on this machine.  Raises IntegrityError if that is damaged.
    """
    if not run.config.sources[storage_number(run, storage)].filestorage.exists():
        return []
    walk = Subtrees(opened.objects, place.above).walk([place.held.oid])
    with opened_objects(run, None, storage, live=True) as live:
        found = held_now(live.objects, (each.held.oid for each in walk))
    if found and found[0].oid == place.held.oid:
        if found[0].path == place.path:
            return []  # the name is taken, which the script says
        raise UsageError(
            f"it was not deleted: it is at {found[0].path!r} in the live site",
            hint="move it back there; extract writes what it was to a file",
        )
    return found


def script_of(export: Path) -> Path:
    """Return the path of the script that brings back the objects in *export*."""
    return export.with_name(f"{export.name}.py")


def uid_of(place: Location) -> str:
    """Return by which id a Plone site knows the object wherever it is; "": it has none."""
    try:
        value = place.held.state().value
    except UnreadableStateError:
        return ""
    uid = value.get(_UID) if isinstance(value, dict) else None
    return uid if isinstance(uid, str) else ""


def script_for(export: Path, path: str, uid: str) -> str:
    """Return the script that brings back to *path* the object in *export*, known by *uid*.

    Texts from the backup stand in it as literals of ASCII alone, so none of them can be code.
    """
    *above, name = path.strip("/").split("/")
    note = printable(f"{path}: brought back from a backup")
    told = {"export": str(export), "above": above, "name": name, "uid": uid, "note": note}
    end = _END.format(**{key: ascii(value) for key, value in told.items()})
    with open_regular(_FUNCTIONS) as file:
        return file.read().decode() + end


def run_script(program: Path, written: WrittenScript, files: Files, *, is_dry: bool) -> None:
    """Let *program*, the script of an instance of Zope, run what was written.

    If it *is_dry*, what was written is removed then.  Raises CommandFailed.
    """
    more = ["--dry-run"] if is_dry else []
    try:
        process.run([program, "run", written.script, *more], what="the script for Zope")
    finally:
        if is_dry:
            for each in (written.script, written.export):
                files.discard(each)
