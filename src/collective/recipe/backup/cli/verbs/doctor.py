"""``bin/backup-doctor``."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import TYPE_CHECKING

from collective.recipe.backup.cli import messages
from collective.recipe.backup.cli.answers import Answers
from collective.recipe.backup.cli.arguments import Verb, destination_flag, json_flag
from collective.recipe.backup.errors import DONE, IntegrityError, printable
from collective.recipe.backup.operations.run import Run

if TYPE_CHECKING:
    from collective.recipe.backup.findings import DoctorFinding


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
            for line in _as_text(finding):
                answers.say(line)
    problems = sum(finding.severity is DoctorSeverity.PROBLEM for finding in found)
    if namespace.json:
        answers.document({"good": not problems, "findings": [_as_json(it) for it in found]})
    if not problems:
        return DONE
    count = "1 problem" if problems == 1 else f"{problems} problems"
    error = IntegrityError(f"the doctor found {count}", hint="mend them, then ask again")
    messages.report(error)
    return error.exit_code


def _as_text(finding: DoctorFinding) -> Iterator[str]:
    where = f": {printable(finding.where)}" if finding.where else ""
    yield f"{finding.severity.value:<8} {finding.subject:<12} {printable(finding.what)}{where}"
    if finding.hint:
        yield f"{'':<21} {printable(finding.hint)}"


def _as_json(finding: DoctorFinding) -> dict[str, object]:
    return {
        "subject": finding.subject,
        "severity": finding.severity.value,
        "what": finding.what,
        "where": printable(finding.where),
        "hint": finding.hint,
    }


VERB = Verb(
    summary="find out what the first night would find out",
    description="Look at the site, at the place for the backups, at what the options need and at\n"
    "what earlier runs have left.  Each finding is ok, a warning or a problem, with a way to\n"
    "mend it.  Nothing is changed: a probe is written where backups will lie, and removed.\n"
    "Problems end it with 3.",
    examples=(
        ("", "look at everything"),
        ("--quiet", "show warnings and problems only"),
        ("--json", "the same for a program"),
    ),
    declare=_declare,
    act=_act,
    everywhere=True,
)
