"""The command line of the generated scripts: arguments in, words and an exit code out.

A script is a verb, a destination and the configuration that the recipe wrote; all else is
here.  Messages go to stderr as ``INFO: text``, answers to stdout.  This is the only room
that prints, and the only one that turns an error into an exit code.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from collective.recipe.backup import config, times
from collective.recipe.backup.errors import (
    DONE,
    BackupError,
    Interrupted,
    UsageError,
    from_os_error,
    printable,
)
from collective.recipe.backup.files import Files
from collective.recipe.backup.operations.run import Run
from collective.recipe.backup.progress import Silent

if TYPE_CHECKING:
    from collective.recipe.backup.operations.listing import Listed

logger = logging.getLogger("backup")

DEFAULT_INTERVAL = 10.0
"""Seconds between two looks of --follow."""
MAXIMUM_INTERVAL = 86400

EPILOG = """\
exit codes:
  0  done                    4  no restore point for that moment
  1  failed, nothing lost    5  locked, or the filestorage is open
  2  wrong configuration     7  a hook or a program failed
  3  data is not as it should be, or blobs are missing
"""


@dataclass(frozen=True)
class Verb:
    """One verb: what it says of itself, its own arguments, and what it does."""

    description: str
    declare: Callable[[argparse.ArgumentParser], None]
    act: Callable[[Run, argparse.Namespace], int]


def main(
    verb: str,
    destination: str,
    config_path: str | os.PathLike[str],
    arguments: Sequence[str] | None = None,
) -> int:
    """Run *verb* for *destination* and return the exit code of the process."""
    asked = sys.argv[1:] if arguments is None else list(arguments)
    _set_up_logging(logging.WARNING if {"-q", "--quiet"} & set(asked) else logging.INFO)
    try:
        with _signals():
            return _run(verb, destination, Path(config_path), asked)
    except BackupError as error:
        return _report(error)
    except OSError as error:
        return _report(from_os_error(error))
    except KeyboardInterrupt:
        return _report(Interrupted("interrupted"))


def _run(verb: str, destination: str, config_path: Path, arguments: Sequence[str]) -> int:
    chosen = VERBS[verb]
    parser = _parser(chosen)
    namespace = parser.parse_args(_split(arguments))
    loaded = config.load(config_path)
    if loaded.options.debug and not namespace.quiet:
        logging.getLogger("backup").setLevel(logging.DEBUG)
    run = Run(
        config=loaded,
        config_path=config_path,
        verb=verb,
        destination=destination,
        now=times.utcnow(),
        files=Files(),
        progress=Silent(),
        ask=None if namespace.no_prompt else _ask,
    )
    return chosen.act(run, namespace)


# arguments


class _Parser(argparse.ArgumentParser):
    """A parser whose complaints are errors like all others."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(message, hint=f"{self.prog} --help says what there is")


def _parser(verb: Verb) -> _Parser:
    parser = _Parser(
        description=verb.description,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "-q", "--quiet", action="store_true", help="say nothing unless something is wrong"
    )
    parser.add_argument(
        "-n", "--no-prompt", action="store_true", help="ask nothing: the answer is yes"
    )
    verb.declare(parser)
    return parser


def _split(arguments: Sequence[str]) -> list[str]:
    """Return *arguments* with a cluster of our two short flags (``-qn``) taken apart."""
    return [
        part
        for argument in arguments
        for part in (["-q", "-n"] if argument in ("-qn", "-nq") else [argument])
    ]


def _declare_backup(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--full", action="store_true", help="make a full backup even if an incremental would do"
    )
    parser.add_argument(
        "--follow",
        action="store_true",
        help="keep running, and back up whenever the site has changed, until SIGTERM",
    )
    parser.add_argument(
        "--every",
        type=_seconds,
        default=DEFAULT_INTERVAL,
        metavar="SECONDS",
        help="with --follow: how often to look (default: %(default)s)",
    )
    # cron lines of older releases may have arguments that were always ignored
    parser.add_argument("ignored", nargs="*", help=argparse.SUPPRESS)


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0 < seconds < MAXIMUM_INTERVAL:
        raise argparse.ArgumentTypeError(f"a time between 0 and {MAXIMUM_INTERVAL} seconds")
    return seconds


def _declare_restore(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "moment", nargs="?", metavar="MOMENT", help=f"what to restore: {times.MOMENT_FORMS}"
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="say what would happen, and change nothing"
    )
    parser.add_argument(
        "--to", type=Path, metavar="DIR", help="restore to this directory, not to the live site"
    )
    part = parser.add_mutually_exclusive_group()
    part.add_argument(
        "--only-filestorage", action="store_true", help="leave the blobs as they are"
    )
    part.add_argument(
        "--only-blobs", action="store_true", help="leave the filestorage as it is"
    )
    replaced = parser.add_mutually_exclusive_group()
    replaced.add_argument(
        "--undo", action="store_true", help="put back what the last restore replaced"
    )
    replaced.add_argument(
        "--let-go", action="store_true", help="remove what the last restore replaced"
    )


def _declare_list(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="answer in JSON")


# verbs


def _backup(run: Run, namespace: argparse.Namespace) -> int:
    from collective.recipe.backup.operations.backup import back_up

    for argument in namespace.ignored:
        logger.warning("%r means nothing to a backup, ignored", argument)
    full = namespace.full or run.config.options.full or run.destination != config.STANDARD
    if namespace.follow:
        _follow(run, namespace.every)
    else:
        back_up(run, full=full)
    return DONE


def _follow(run: Run, every: float) -> None:
    from collective.recipe.backup.following import Pace, tell_service_manager
    from collective.recipe.backup.operations.follow import follow

    if run.destination != config.STANDARD:
        raise UsageError("--follow is for incremental backups", hint="use it with bin/backup")
    with Pace(every).ended_by_signals() as pace:
        follow(run, pace, tell=lambda what: tell_service_manager("READY=1", f"STATUS={what}"))
    tell_service_manager("STOPPING=1")
    logger.info("ended, as asked for")


def _restore(run: Run, namespace: argparse.Namespace) -> int:
    from collective.recipe.backup.operations import restore

    when = times.parse(namespace.moment) if namespace.moment else None
    order = restore.Order(
        when=when,
        filestorage=not namespace.only_blobs,
        blobstorage=not namespace.only_filestorage,
        to=namespace.to and namespace.to.absolute(),
    )
    if namespace.undo or namespace.let_go:
        if namespace.moment:
            raise UsageError("--undo and --let-go take no moment")
        restore.undo(run) if namespace.undo else restore.let_go(run)
    elif namespace.dry_run:
        print(restore.describe(run, order))
    elif not restore.restore(run, order):
        logger.info("nothing was changed")
    return DONE


def _list(run: Run, namespace: argparse.Namespace) -> int:
    from collective.recipe.backup.operations.listing import list_points

    listed = list_points(run)
    if namespace.json:
        print(json.dumps([_as_json(each) for each in listed], indent=2))
    else:
        for each in listed:
            print(_as_text(each))
    return DONE


VERBS = {
    "backup": Verb(
        "Back up the site: its filestorage and its blobs, incrementally where possible.",
        _declare_backup,
        _backup,
    ),
    "restore": Verb(
        "Bring the site back to its newest restore point, or to the state at a MOMENT.  "
        "The site must be stopped.  What is live now is kept until the next restore.",
        _declare_restore,
        _restore,
    ),
    "list": Verb(
        "List the restore points, and the moments that can be restored.", _declare_list, _list
    ),
}


# answers


def _as_json(listed: Listed) -> dict[str, object]:
    return {
        "storage": listed.source.name,
        "filestorage": str(listed.source.filestorage),
        "restore_points": [
            {
                "stamp": point.stamp,
                "kind": "full" if point.full else "incremental",
                "chain": point.chain,
                "size": point.end,
                "stored": point.stored,
                "tid": point.tid and times.show_tid(point.tid),
                "blobs": point.blobs,
                "whole": point.whole,
                "restorable": point.restorable,
                "problems": list(point.problems),
            }
            for point in listed.points
        ],
        "moments": [
            {"first": span.first.isoformat(), "last": span.last.isoformat()}
            for span in listed.ranges
        ],
    }


def _as_text(listed: Listed) -> str:
    lines = [f"{'restore point':<21}{'kind':<13}{'stored':>10}{'restores':>10}  state"]
    if not listed.points:
        return f"no restore points of {printable(str(listed.source.filestorage))} yet"
    for point in listed.points:
        kind = "full" if point.full else "incremental"
        state = "whole" if point.whole else "; ".join(point.problems)
        lines.append(
            f"{point.stamp:<21}{kind:<13}{size(point.stored):>10}{size(point.end):>10}  {state}"
        )
    lines.append("Any moment in these ranges can be restored (UTC):")
    lines.extend(
        f"  {times.stamp(span.first)} to {times.stamp(span.last)}" for span in listed.ranges
    )
    return "\n".join(lines)


def size(count: int) -> str:
    """Return *count* bytes for people, in powers of 1000."""
    number = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if number < 1000:
            return f"{number:.0f} B" if unit == "B" else f"{number:.1f} {unit}"
        number /= 1000
    return f"{number:.1f} TB"


def _ask(question: str) -> bool:
    """Show *question* on the terminal; only a literal yes is one."""
    print(question, file=sys.stderr)
    while True:
        print("Are you sure? (yes/no) [no]: ", end="", file=sys.stderr, flush=True)
        line = sys.stdin.readline()
        if not line:
            raise BackupError(
                "nobody answered", hint="run it in a terminal, or with --no-prompt if you are sure"
            )
        answer = line.strip().lower()
        if answer in ("", "no"):
            return False
        if answer == "yes":
            return True
        print("Please answer yes or no.", file=sys.stderr)


# messages


def _set_up_logging(level: int) -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Lines("%(levelname)s: %(message)s"))
    logger.handlers[:] = [handler]
    logger.propagate = False
    logger.setLevel(level)


class _Lines(logging.Formatter):
    """A formatter that lets no name of a file write to the terminal what it likes."""

    def format(self, record: logging.LogRecord) -> str:
        return "\n".join(printable(line) for line in super().format(record).splitlines())


def _report(error: BackupError) -> int:
    """Say what went wrong and return its exit code."""
    logger.error("%s", error)
    if error.hint:
        logger.error("hint: %s", error.hint)
    return error.exit_code


@contextmanager
def _signals() -> Iterator[None]:
    """Turn a polite request to end into an error, so that what is half done is taken back."""

    def end(number: int, _frame: object) -> NoReturn:
        raise Interrupted(f"ended by {signal.Signals(number).name}")

    numbers = (signal.SIGTERM, signal.SIGHUP)
    try:
        before = {number: signal.signal(number, end) for number in numbers}
    except ValueError:
        # not the main thread: signals are somebody else's affair
        yield
        return
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
