"""Removals and merges that a run began: each has a journal, and so can be finished.

``STAMP.dat.pruned``   the ledger of a chain that is being removed
``STAMP.dat.merging``  lines of data files of a chain: some that one new file takes the place
                       of, and that one, last.  The ledger says whether it did

repozo goes by the files alone, so the newest file of a chain is removed first: the rest is a chain
that repozo can recover at any moment.  The journal is removed last, when all else is durable; the
blobs of a chain are removed before it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path

from collective.recipe.backup.files import Files
from collective.recipe.backup.repozo.blocks import blocks_path
from collective.recipe.backup.repozo.chains import ASIDE, PRUNED, read_directory
from collective.recipe.backup.repozo.ledger import STAMP_SIZE, Part, ledger_path, read_ledger

REPOZO_TEMPORARY = "tmp.tmp"


def sweep(directory: Path, files: Files) -> Iterator[str]:
    """Remove temporary files of runs that died; yield sentences about it."""
    swept = files.sweep(directory)
    temporary = directory / REPOZO_TEMPORARY
    if temporary.is_file() and not temporary.is_symlink():
        files.remove(temporary)
        swept.append(temporary)
    yield from map(about_swept, swept)


def about_swept(path: Path) -> str:
    """Return in a sentence that *path* is gone."""
    return f"removed {path.name}, which a run that died had not finished"


def finish(
    directory: Path, files: Files, and_then: Callable[[], object] | None = None
) -> Iterator[str]:
    """Finish the removals and merges of a run that died; yield sentences about it.

    *and_then* removes the blobs of the chains that are being removed.
    """
    removals = []
    for name in read_directory(directory).unfinished:
        if name.endswith(PRUNED):
            removals.append(directory / name)
            remove_data(removals[-1], files)
        else:
            yield finish_merge(directory / name, files)
    if removals and and_then is not None:
        and_then()
    for journal in removals:
        forget(journal, files)
        yield f"removed what was left of the chain {journal.name[:STAMP_SIZE]}"


def remove_data(journal: Path, files: Files) -> None:
    """Remove what *journal* names and no ledger does."""
    directory = journal.parent
    entries = _entries(journal)
    named = {name for chain in read_directory(directory).chains for name in chain.names}
    names = {part.name for part in entries} - named
    _remove(directory, names, {name[:STAMP_SIZE] for name in named}, files)


def finish_merge(journal: Path, files: Files) -> str:
    """Remove the files that *journal* names and the ledger does not; return a sentence about it."""
    directory, stamp = journal.parent, journal.name[:STAMP_SIZE]
    *merged, result = _entries(journal) or [Part("", 0, 0, "")]
    named = _entries(ledger_path(directory, stamp))
    names = {part.name for part in named}
    if result.name in names:
        # a journal with a line that cannot be read may take one of them for the new file
        superfluous = {part.name for part in merged} - names
    elif names.issuperset(part.name for part in merged):
        superfluous = {result.name}
    else:
        # neither before nor after the ledger changed: its files are treated as any other data files
        files.rename(journal, journal.with_name(journal.name + ASIDE))
        return f"renamed {journal.name}: it does not fit the ledger of its chain"
    _remove(directory, superfluous, {part.stamp for part in named}, files)
    forget(journal, files)
    return f"removed what a merge in the chain {stamp} had left over"


def _entries(ledger: Path) -> Sequence[Part]:
    """Return what *ledger* names, nothing if it is not there."""
    lines = read_ledger(ledger)
    return () if lines is None else lines.entries


def _remove(
    directory: Path, names: Collection[str], used_stamps: Collection[str], files: Files
) -> None:
    """Remove data files, and the files beside them if no other data file has their stamp."""
    for name in sorted(filter(None, names), reverse=True):
        files.clear(directory / name)
        if name[:STAMP_SIZE] not in used_stamps:
            files.clear(blocks_path(directory, name))
            files.clear(directory / f"{name[:STAMP_SIZE]}.index")


def forget(journal: Path, files: Files) -> None:
    """Remove *journal* alone, when its work is done."""
    # else a power cut could bring back a file, and not the journal that knows of it
    files.sync_directory(journal.parent)
    files.remove(journal)
    files.sync_directory(journal.parent)
