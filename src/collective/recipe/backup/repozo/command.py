"""The command ``repozo``, with the options of ZODB's command of that name.

It is an entry point of its own, beside ``cli``, and so it prints: answers to stdout, all else to
stderr.  The exit status is 0 or 1, as callers of repozo expect it.

Differences from ZODB's:

* nothing is deleted before what takes its place is whole: the filestorage is written
  beside ``--output``, verified on the way, and renamed;
* ``--recover`` always verifies, and refuses while the filestorage is open somewhere, or
  where damage to a ledger may hide a newer backup;
* ``--verify`` looks at all chains, and goes on after the first problem;
* one run at a time changes a repository; what runs that died left there is mended first.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from typing import NoReturn

from collective.recipe.backup import times
from collective.recipe.backup.errors import (
    BackupError,
    IntegrityError,
    NoRestorePoint,
    UsageError,
    explained,
    printable,
)
from collective.recipe.backup.files import Files
from collective.recipe.backup.filestorage.believing import is_believed, reader_of
from collective.recipe.backup.filestorage.companions import index_of
from collective.recipe.backup.filestorage.transactionlog import TransactionLog
from collective.recipe.backup.locking import closed_filestorage, one_writer
from collective.recipe.backup.model import DEFAULT_LEVEL
from collective.recipe.backup.progress import Silent
from collective.recipe.backup.repozo.chainbackup import Orders, Taken, back_up
from collective.recipe.backup.repozo.chaincheck import verify_contents, verify_names
from collective.recipe.backup.repozo.chainremoval import remove_chain
from collective.recipe.backup.repozo.chains import Chain, Listing, read_directory
from collective.recipe.backup.repozo.recover import Write, index_for, recover
from collective.recipe.backup.smallfile import open_regular

Say = Callable[[str], None]

_MEANT_FOR = {
    "backup": {"file", "full", "quick", "gzip", "kill_old_on_full"},
    "recover": {"date", "output", "with_verify"},
    "verify": {"quick"},
}


class _Options(argparse.Namespace):
    """The options of the command line."""

    mode: str | None
    repository: Path | None
    verbose: bool
    help: bool
    file: Path | None
    full: bool
    quick: bool
    gzip: bool
    kill_old_on_full: bool
    date: str | None
    output: Path | None
    with_verify: bool


class _Parser(argparse.ArgumentParser):
    """An ArgumentParser that leaves the exit to its caller."""

    def error(self, message: str) -> NoReturn:
        """Raise UsageError."""
        raise UsageError(message, hint="repozo --help lists all options")


def main(argv: Sequence[str]) -> int:
    """Do what the command line *argv*, without the name of the program, says."""
    parser = _parser()
    try:
        options = parser.parse_args(argv, _Options())
        if options.help:
            print(parser.format_help(), end="")
            return 0
        return _run(options)
    except BackupError as error:
        _to_stderr(str(error))
        if error.hint:
            _to_stderr(f"hint: {error.hint}")
        return 1


def _run(options: _Options) -> int:
    if options.mode is None:
        raise UsageError("one of --backup, --recover and --verify is needed")
    if options.repository is None:
        raise UsageError("--repository is needed")
    if not options.repository.is_dir():
        raise BackupError("there is no such repository", where=options.repository)
    say: Say = _to_stderr if options.verbose else lambda _sentence: None
    for name in _given(options) - _MEANT_FOR[options.mode]:
        say(f"--{name.replace('_', '-')} means nothing with --{options.mode}")
    modes = {"backup": _backup, "recover": _recover, "verify": _verify}
    return modes[options.mode](options, options.repository, say)


def _given(options: _Options) -> set[str]:
    every = set().union(*_MEANT_FOR.values())
    return {name for name in every if getattr(options, name) not in {None, False}}


def _backup(options: _Options, repository: Path, say: Say) -> int:
    if options.file is None:
        raise UsageError("--file is needed with --backup")
    files = Files()
    orders = Orders(
        why_full="a full backup was asked for" if options.full else "",
        level=DEFAULT_LEVEL if options.gzip else None,
        strict=not options.quick,
    )
    files.limit(repository, options.file)
    with one_writer(repository, f"repozo --backup, process {os.getpid()}"):
        with TransactionLog(options.file) as log:
            taken = back_up(
                log, repository, orders, files=files, now=times.utcnow(), progress=Silent()
            )
        for sentence in _about(taken):
            say(sentence)
        if options.kill_old_on_full and taken.changed and taken.full:
            for chain in read_directory(repository).chains:
                if chain.stamp != taken.chain:
                    say(f"removing the chain {chain.stamp}")
                    remove_chain(chain, files)
    return 0


def _about(taken: Taken) -> Iterator[str]:
    yield from taken.healed
    if not taken.changed:
        yield f"nothing has changed since {taken.stamp}"
        return
    kind = "full" if taken.full else "incremental"
    yield f"{kind} backup {taken.stamp}: bytes {taken.start} to {taken.end}"
    if taken.reason:
        yield taken.reason


def _recover(options: _Options, repository: Path, say: Say) -> int:
    chain, through = _chosen(repository, options.date)
    for orphan in read_directory(repository).orphans:
        if options.date is None and orphan > through:
            _to_stderr(f"{orphan} is newer, but no ledger names it: left out, see --verify")
    say(f"recovering {through} from the chain {chain.stamp}")
    if options.output is None:
        with explained("cannot write to stdout"):
            recovered = _recovered(chain, through, sys.stdout.buffer.write)
            sys.stdout.buffer.flush()
        say(f"recovered {recovered} bytes")
        return 0
    # through a symbolic link, since it tells on which disk the data is to be
    output = options.output.resolve()
    with explained("cannot write the filestorage", output), ExitStack() as stack:
        # as open as what it comes from, and its owner may write it
        mode = chain.path(chain.up_to(through)[-1]).stat().st_mode & 0o666 | 0o600
        if output.exists():
            stack.enter_context(closed_filestorage(output))
            mode = output.stat().st_mode & 0o777
        recovered = _replace(output, mode, chain, through)
    say(f"recovered {recovered} bytes to {output}")
    return 0


def _replace(output: Path, mode: int, chain: Chain, through: str) -> int:
    """Put the recovered file in the place of *output*, with an index that fits it, or none."""
    files = Files()
    index = index_of(output)
    with files.writing(output, mode) as writer:
        end = _recovered(chain, through, writer.write)
        # last of all before the rename: an index of other data is worse than none
        files.clear(index)
    saved = index_for(chain, through, end)
    if saved is not None and _serves(saved, output):
        files.publish_copy(saved, index)
    return end


def _serves(index: Path, output: Path) -> bool:
    with open_regular(output) as file:
        return is_believed(index, reader_of(file))


def _recovered(chain: Chain, through: str, write: Write) -> int:
    return recover(chain, write, through=through, until=None, progress=Silent()).end


def _chosen(repository: Path, date: str | None) -> tuple[Chain, str]:
    """Return a chain and the stamp of its newest part at or before *date*."""
    latest = "9999" if date is None else times.stamp(_moment(date))
    listing = read_directory(repository)
    for chain in reversed(listing.chains):
        stamps = [part.stamp for part in (*chain.parts, *chain.stray) if part.stamp <= latest]
        if stamps:
            if max(stamps) != latest:
                _refuse_damaged(listing, chain, max(stamps), latest)
            return chain, max(stamps)
    when = f" at or before {latest}" if date else ""
    raise NoRestorePoint(f"the repository holds no backup{when}", where=repository)


def _refuse_damaged(listing: Listing, chain: Chain, through: str, latest: str) -> None:
    """Refuse where the newest backup up to *latest* may be one that a ledger has lost."""
    for problem in listing.problems:
        ledger = Path(problem.where)
        if ledger.suffix == ".dat" and chain.stamp <= ledger.stem <= latest:
            raise IntegrityError(
                f"the ledger is damaged: {problem.what}",
                where=ledger,
                hint=f"--date {through} recovers the newest backup that can be told from it",
            )


def _moment(date: str) -> datetime:
    moment = times.parse(date)
    if not isinstance(moment, datetime):
        raise UsageError("--date takes no tid", hint="write yyyy-mm-dd[-hh[-mm[-ss]]], in UTC")
    return moment


def _verify(options: _Options, repository: Path, say: Say) -> int:
    chains = read_directory(repository).chains
    problems = list(verify_names(repository))
    if not chains and not problems:
        raise NoRestorePoint("the repository holds no backup", where=repository)
    if not options.quick:
        problems += verify_contents(repository, Silent())
    for problem in problems:
        _to_stderr(str(problem))
    if not problems:
        say(f"{len(chains)} chains are whole")
    return 1 if problems else 0


def _to_stderr(sentence: str) -> None:
    print("\n".join(map(printable, sentence.split("\n"))), file=sys.stderr)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="repozo",
        description="Back up a filestorage (Data.fs) into a repository, recover it, verify it.",
        add_help=False,
    )
    modes = parser.add_argument_group("what to do, one of").add_mutually_exclusive_group()
    for mode, text in (
        ("backup", "back up the filestorage, incrementally where possible"),
        ("recover", "restore the filestorage, verified on the way"),
        ("verify", "verify all backups in the repository"),
    ):
        modes.add_argument(
            f"-{mode[0].upper()}",
            f"--{mode}",
            dest="mode",
            action="store_const",
            const=mode,
            help=text,
        )
    always = parser.add_argument_group("always")
    always.add_argument(
        "-r", "--repository", type=Path, metavar="DIR", help="directory of the backups, needed"
    )
    always.add_argument("-v", "--verbose", action="store_true", help="say what is done")
    always.add_argument("-h", "--help", action="store_true", help="print this and exit")
    _add_backup(parser.add_argument_group("with --backup"))
    recover = parser.add_argument_group("with --recover")
    recover.add_argument(
        "-D",
        "--date",
        metavar="DATE",
        help="the state of the newest backup at or before yyyy-mm-dd[-hh[-mm[-ss]]], in UTC",
    )
    recover.add_argument(
        "-o", "--output", type=Path, metavar="FILE", help="where to write to; default: stdout"
    )
    recover.add_argument(
        "-w", "--with-verify", action="store_true", help="verify on the way; always done"
    )
    return parser


def _add_backup(group: argparse._ArgumentGroup) -> None:
    group.add_argument("-f", "--file", type=Path, metavar="FILE", help="the Data.fs, needed")
    group.add_argument("-F", "--full", action="store_true", help="a full backup in any case")
    group.add_argument(
        "-Q",
        "--quick",
        action="store_true",
        help="do not compare all that was backed up with the filestorage before going on"
        " from there; with --verify: names and sizes only",
    )
    group.add_argument("-z", "--gzip", action="store_true", help="compress the backup")
    group.add_argument(
        "-k",
        "--kill-old-on-full",
        action="store_true",
        help="after a full backup remove all older ones",
    )
