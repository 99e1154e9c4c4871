"""``bin/backup-doctor``."""

from __future__ import annotations

import argparse

from collective.recipe.backup.amounts import number_of
from collective.recipe.backup.cli import messages
from collective.recipe.backup.cli.answers import Answers
from collective.recipe.backup.cli.arguments import Verb, destination_flag, json_flag
from collective.recipe.backup.cli.findinglines import as_json, as_text
from collective.recipe.backup.errors import DONE, IntegrityError
from collective.recipe.backup.operations.run import Run


def _declare(parser: argparse.ArgumentParser) -> None:
    json_flag(parser)
    destination_flag(parser)


def _act(run: Run, namespace: argparse.Namespace, answers: Answers) -> int:
    from collective.recipe.backup.findings import DoctorSeverity
    from collective.recipe.backup.operations.doctor import examine

    found = []
    for finding in examine(run):
        found.append(finding)
        if not namespace.json and not (namespace.quiet and finding.severity is DoctorSeverity.OK):
            for line in as_text(finding):
                answers.say(line)
    problems = sum(finding.severity is DoctorSeverity.PROBLEM for finding in found)
    if namespace.json:
        answers.document({"good": not problems, "findings": [as_json(it) for it in found]})
    if not problems:
        return DONE
    error = IntegrityError(
        f"the doctor found {number_of(problems, 'problem')}", hint="mend them, then ask again"
    )
    messages.report(error)
    return error.exit_code


VERB = Verb(
    summary="check all that a backup and a restore need",
    description="Look at the site, at the place for the backups, at what the options need and at\n"
    "what earlier runs have left.  Each finding is ok, a warning or a problem, with a way to\n"
    "mend it.  Nothing is changed: a probe is written where backups will lie, and removed.\n"
    "Problems end it with 3.",
    examples=(
        ("", "look at everything"),
        ("--quiet", "show warnings and problems only"),
        ("--json", "in JSON, for a program"),
    ),
    declare=_declare,
    act=_act,
    everywhere=True,
)
