"""The user of the doctor, the owners of the site and its backups, and missing permissions.

Backups and restores are made by the user who runs them.  Restored files belong to that user, unless
it is root.
"""

from __future__ import annotations

import os
import pwd
import stat
from collections.abc import Iterator
from pathlib import Path

from collective.recipe.backup.errors import printable
from collective.recipe.backup.findings import DoctorFinding, Report
from collective.recipe.backup.operations.run import Run


def user(number: int) -> str:
    """Return the name of the user with that *number*, or the number where there is none."""
    try:
        return printable(pwd.getpwuid(number).pw_name)
    except KeyError:
        return str(number)


def whose(run: Run) -> Iterator[DoctorFinding]:
    """Name the user who runs this, and the owners of the site and its backups."""
    report = Report("users")
    me, owners = os.geteuid(), dict(_owners(run))
    names = " and ".join(f"{user(owner)} owns {', '.join(of)}" for owner, of in owners.items())
    if set(owners) <= {me}:
        report.ok(f"run by user {user(me)}, who owns the site and its backups")
    elif me == 0:
        report.ok(f"run by user {user(me)}; {names}")
    else:
        first = user(next(owner for owner in owners if owner != me))
        report.warning(
            f"run by user {user(me)}, but {names}",
            hint=f"run everything as user {first}: what user {user(me)} restores will belong to "
            f"{user(me)}, and what {user(me)} may not read cannot be backed up",
        )
    yield from report


def _owners(run: Run) -> Iterator[tuple[int, list[str]]]:
    """Yield each owner with a list of the things owned, in words, as far as they can be seen."""
    things = [(it.filestorage, "the filestorage") for it in run.config.sources]
    things += [(it.blobstorage, "the blobs") for it in run.config.sources if it.blobstorage]
    things += [(path, "the backups") for home in run.homes for path in home.directories]
    owners: dict[int, dict[str, None]] = {}
    for path, words in things:
        try:
            owners.setdefault(path.stat().st_uid, {})[words] = None
        except OSError:
            continue  # said elsewhere, or not made yet
    yield from ((owner, list(of)) for owner, of in owners.items())


def once(findings: Iterator[DoctorFinding]) -> Iterator[DoctorFinding]:
    """Yield *findings*, but each only once, if several checks have found it.

    A directory that this user may not enter is one finding, whatever lies in it.
    """
    seen: set[tuple[object, ...]] = set()
    for finding in findings:
        place = _barrier(Path(finding.where)) if finding.denied else None
        key = (finding.severity, finding.what, finding.where) if place is None else (place,)
        if key not in seen:
            seen.add(key)
            yield finding if place is None else _with_owner(finding, place)


def _barrier(path: Path) -> Path:
    """Return the first directory on the way to *path* that this user may not enter, else *path*."""
    for directory in reversed(path.parents):
        if not os.access(directory, os.X_OK, effective_ids=os.access in os.supports_effective_ids):
            return directory
    return path


def _with_owner(finding: DoctorFinding, place: Path) -> DoctorFinding:
    """Return *finding* with a hint that names the user and the owner of *place*."""
    me = user(os.geteuid())
    try:
        status = place.stat()
    except OSError:
        return finding
    owner, mode = user(status.st_uid), stat.S_IMODE(status.st_mode)
    it = "it" if str(place) == finding.where else printable(str(place))
    return finding.with_hint(
        f"{it} belongs to user {owner} (mode {mode:04o}), and this is run by user {me}: run it as "
        f"{owner}, or give {me} the permission"
    )
