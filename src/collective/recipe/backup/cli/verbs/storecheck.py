"""``bin/backup-repository check-store``, and by itself: is the store good enough?"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from collective.recipe.backup.cli import messages
from collective.recipe.backup.cli.answers import Answers
from collective.recipe.backup.cli.findinglines import as_json, as_text
from collective.recipe.backup.errors import DONE, BackupError, UsageError
from collective.recipe.backup.storeurls import has_capability

if TYPE_CHECKING:
    from collective.recipe.backup.findings import Report
    from collective.recipe.backup.operations.run import Run


def check_store(run: Run, namespace: argparse.Namespace, answers: Answers) -> int:
    """Try out the store that is named, by its URL or as a repository of the site."""
    from collective.recipe.backup.operations.repositoryaccess import try_out

    _must_be_no_secret(namespace.repository or "")
    return _told(try_out(run, namespace.repository), answers)


def check_store_at(url: str, answers: Answers) -> int:
    """Try out the store at *url*, which no site has yet."""
    from collective.recipe.backup import times
    from collective.recipe.backup.cli.bars import progress_on
    from collective.recipe.backup.files import Files
    from collective.recipe.backup.operations.repositoryaccess import try_out_at
    from collective.recipe.backup.stores.allowance import Allowance

    _must_be_no_secret(url)
    progress = progress_on(answers.screen)
    return _told(try_out_at(url, Files(), times.utcnow(), Allowance(), progress), answers)


def _must_be_no_secret(url: str) -> None:
    """Raise UsageError if *url* lets others in: they see the command lines of this machine."""
    if has_capability(url):
        raise UsageError(
            "a capability in a command line can be read by all users of this machine",
            hint="name it by tahoe add-alias, and write tahoe:ALIAS",
        )


def _told(found: Report, answers: Answers) -> int:
    """Print the results; return the exit code."""
    from collective.recipe.backup.findings import DoctorSeverity

    problems = [each for each in found if each.severity is DoctorSeverity.PROBLEM]
    if answers.json:
        answers.document({"good": not problems, "findings": [as_json(each) for each in found]})
    else:
        for finding in found:
            for line in as_text(finding):
                answers.say(line)
    if not problems:
        return DONE
    error = BackupError("this store does not do what a repository needs", hint=problems[0].hint)
    messages.report(error)
    return error.exit_code
