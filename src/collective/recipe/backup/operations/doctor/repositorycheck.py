"""The repositories of the site: do they open, who may read the passphrase, further files."""

from __future__ import annotations

import os
from collections.abc import Iterator

from collective.recipe.backup.destinations.configured import REPOSITORY
from collective.recipe.backup.destinations.repository.passphrases import EXPOSED, exposed_file
from collective.recipe.backup.findings import DoctorFinding, Report
from collective.recipe.backup.operations.run import Run


def repositories(run: Run) -> Iterator[DoctorFinding]:
    """Open each repository, and look for the restore points of the site."""
    found = [each for each in run.beside if each.configured.kind == REPOSITORY]
    for each in found:
        report = Report("repository")
        with each.opened() as destinations:
            for destination in destinations:
                with report.looking(destination.home.label):
                    # on a new machine it is what is restored that comes from there
                    if os.path.lexists(destination.source.filestorage):
                        destination.check_owner()
                    count = len(destination.restore_points())
                    report.ok(f"{each.name} opens; restore points: {count}", destination.home.label)
        yield from report
    if found:
        yield from _passphrase_file(run)
        yield from _further_files(run)


def _further_files(run: Run) -> Iterator[DoctorFinding]:
    report = Report("repository")
    for path in run.config.options.files:
        if not os.path.exists(path):
            what = "there is nothing here, and files says that it is to be backed up"
            report.warning(what, path, "correct files, or find out what has removed it")
        elif not os.access(path, os.R_OK):
            what = "this user may not read what files says is to be backed up"
            report.warning(what, path, "let the user of the backups read it")
    yield from report


def _passphrase_file(run: Run) -> Iterator[DoctorFinding]:
    report = Report("repository")
    with report.looking(run.config.options.repository_passphrase_file or ""):
        path = exposed_file(run.config.options)
        if path is not None:
            report.warning(EXPOSED, path, f"chmod 600 {path}")
    yield from report
