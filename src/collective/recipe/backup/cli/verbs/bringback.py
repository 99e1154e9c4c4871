"""``bin/backup-undelete``."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path
from typing import TYPE_CHECKING

from collective.recipe.backup.cli import moments
from collective.recipe.backup.cli.answers import Answers
from collective.recipe.backup.cli.arguments import Verb, destination_flag, json_flag, place_flag
from collective.recipe.backup.cli.verbs.extract import (
    export_as_json,
    export_file,
    refuse_existing,
    tell_export,
)
from collective.recipe.backup.cli.verbs.objects import asked_moment, asked_path, path_flag
from collective.recipe.backup.errors import DONE, UsageError, printable

if TYPE_CHECKING:
    from collective.recipe.backup.operations.run import Run

logger = logging.getLogger("backup")

_HOW_TO_RUN = "run it with bin/instance run, or bin/zconsole run ZOPE_CONF"


def _declare(parser: argparse.ArgumentParser) -> None:
    moments.declare(parser, "as it was at this moment (default: the newest there is)")
    path_flag(parser)
    parser.add_argument(
        "--file",
        type=Path,
        metavar="FILE",
        help="the export to write; the script beside it is FILE.py (default: the name of the "
        "object with .zexp, here)",
    )
    parser.add_argument(
        "--run",
        type=Path,
        metavar="PROGRAM",
        dest="program",
        help="run the script at once, with this script of a Zope instance: bin/instance",
    )
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="with --run: the script looks for conflicts and says what it would write, no more; "
        "both files are removed again",
    )
    json_flag(parser)
    destination_flag(parser)
    place_flag(parser)
    moments.past_flag(parser)


def _act(run: Run, namespace: argparse.Namespace, answers: Answers) -> int:
    from collective.recipe.backup.objects.paths import is_oid, place_of
    from collective.recipe.backup.operations import bringback
    from collective.recipe.backup.operations.objects import opened_objects
    from collective.recipe.backup.operations.usedplaces import refuse_within

    path = asked_path(namespace, is_needed=True)
    if is_oid(path):
        raise UsageError(
            "an oid does not say into which folder it is to come back",
            hint="name its path, or write it to a file with extract",
        )
    if namespace.dry_run and namespace.program is None:
        raise UsageError(
            "--dry-run is for --run",
            hint="without --run the site is not touched: two files are written, and the script "
            "takes --dry-run as well",
        )
    when = asked_moment(run, namespace)
    export = export_file(path, namespace.file)
    refuse_within(run.config, export)
    with opened_objects(run, when) as opened:
        place = place_of(opened.objects, path)
        refuse_existing(export)
        refuse_existing(bringback.script_of(export))
        copies = bringback.parts_elsewhere(run, opened, place)
        for each in copies:
            logger.warning("a part of it still exists, at %r: a copy comes back", each.path)
        written = bringback.write(opened, place, export, run.files)
    if not answers.json:
        tell_export(written.extracted, written.export, answers)
        what = _HOW_TO_RUN
        if namespace.program is not None:
            name = printable(str(namespace.program))
            what = "removed after the dry run" if namespace.dry_run else f"{name} runs it now"
        answers.say(f"{printable(str(written.script))}: {what}")
    if namespace.program is not None:
        program = namespace.program.absolute()
        bringback.run_script(program, written, run.files, is_dry=namespace.dry_run)
    if answers.json:
        is_back = namespace.program is not None and not namespace.dry_run
        about = {
            "script": str(written.script),
            "brought_back": is_back,
            "copies_of": [each.path for each in copies],
        }
        answers.document({**export_as_json(written.extracted, written.export), **about})
    return DONE


VERB = Verb(
    summary="bring one thing back into the live site",
    description="Write an object as it was at a moment, with all that it holds and its blobs, to\n"
    "a file, and beside it a script for the site's own Zope that puts it back where it was.\n"
    "The script names conflicts before it writes anything, and writes in one transaction.\n"
    "What comes back has its old oids where they are free, and new ones where not.",
    examples=(
        ("yesterday /Plone/news", "news.zexp, and news.zexp.py for bin/instance run"),
        ("--before TID /Plone/news --run bin/instance --dry-run", "say what would be done"),
        ("--before TID /Plone/news --file back.zexp --run bin/instance", "do it at once"),
    ),
    declare=_declare,
    act=_act,
)
