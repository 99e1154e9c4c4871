"""``bin/backup-report``."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path
from typing import TYPE_CHECKING

from collective.recipe.backup.cli.answers import Answers
from collective.recipe.backup.cli.arguments import Verb, destination_flag, place_flag
from collective.recipe.backup.errors import DONE

if TYPE_CHECKING:
    from collective.recipe.backup.operations.run import Run

logger = logging.getLogger("backup")

_STANDARD_OUTPUT = Path("-")


def _declare(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "file",
        nargs="?",
        type=Path,
        metavar="FILE",
        help="write the page to this file, in one step; - is standard output (default: on a "
        "terminal report_file, or backup-report.html beside the directories of the backups; else "
        "standard output)",
    )
    destination_flag(parser)
    place_flag(parser, default="all of them")


def _act(run: Run, namespace: argparse.Namespace, answers: Answers) -> int:
    from collective.recipe.backup.operations.report import report, usual_path, write

    path = namespace.file
    if path is None and answers.width is not None:
        path = usual_path(run)
    if path is None or path == _STANDARD_OUTPUT:
        # so that it is right whatever encoding the other side takes it for
        page = report(run).encode("ascii", "xmlcharrefreplace").decode("ascii")
        answers.say(page.rstrip("\n"))
    else:
        from collective.recipe.backup.operations.usedplaces import refuse_within

        refuse_within(run.config, path.absolute())
        write(run, path.absolute())
        logger.info("the report is in %s", path.absolute())
    return DONE


VERB = Verb(
    summary="write a page about the backups",
    description="Write one page of HTML: what can be restored, how the site grows, how long "
    "backups\ntake, what verify and rehearse found, what your commands said, and what is "
    "kept.\nIt needs no network and no script.",
    examples=(
        ("", "write the page to var/backup-report.html, or where report_file says"),
        ("--from repository", "the page of one place alone"),
        ("/srv/www/backups.html", "write it elsewhere, for a web server or for a mail"),
        ("- | mail ...", "write it to standard output, as it does without an argument in a pipe"),
    ),
    declare=_declare,
    act=_act,
    everywhere=True,
)
