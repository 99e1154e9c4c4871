"""Checks a repozo directory: every file of every chain, against ledger and disk.

Nothing is changed.  The search goes on after each problem.  Each problem says what can still be
restored.  A file that no ledger names is a problem too: repozo lists the directory, and would
restore its bytes between those of the others.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from dataclasses import replace
from pathlib import Path

from collective.recipe.backup.errors import BackupError, explained
from collective.recipe.backup.filestorage.framing import Framing
from collective.recipe.backup.model import Problem
from collective.recipe.backup.progress import Advance, Progress
from collective.recipe.backup.repozo.blocks import (
    Blocks,
    Digested,
    blocks_path,
    check_blocks,
    stored_as,
)
from collective.recipe.backup.repozo.chains import (
    Chain,
    Listing,
    again,
    problem_of,
    read_directory,
    was_replaced,
)
from collective.recipe.backup.repozo.ledger import Part
from collective.recipe.backup.repozo.partreading import checked
from collective.recipe.backup.repozo.savedindex import index_path
from collective.recipe.backup.times import ZERO_TID, Tid

_ONLY_A_CACHE = "delete it: it only makes the next backup quicker"


Wants = Callable[[Chain, Part], bool]
"""Tells whether a part is to be looked at."""


def all_parts(_chain: Chain, _part: Part) -> bool:
    """Want them all."""
    return True


def verify_names(directory: Path, wants: Wants = all_parts) -> Iterator[Problem]:
    """Yield problems of names and sizes; no data is read.

    Problems of the directory as a whole are yielded only if all parts are wanted.
    """
    listing = read_directory(directory)
    if wants is all_parts:
        yield from listing.problems
        for orphan in listing.orphans:
            yield _orphan(listing, directory / orphan)
    for chain in listing.chains:
        for part in (*chain.parts, *chain.stray):
            if part.name not in chain.missing and wants(chain, part):
                yield from _reported(_sizes(chain, part), chain.path(part))


def verify_contents(
    directory: Path, progress: Progress, wants: Wants = all_parts
) -> Iterator[Problem]:
    """Yield problems with the bytes of all wanted files that are there.

    Each part has the size and MD5 of the ledger, and is stored as it was written; all parts
    together are the log of a filestorage, whose tids increase.
    """
    chains = read_directory(directory).chains
    size = sum(
        part.size
        for chain in chains
        for part in (*chain.parts, *chain.stray)
        if wants(chain, part) and part.name not in chain.missing
    )
    with progress.phase("verifying the filestorage", size) as advance:
        for chain in chains:
            yield from _chain(chain, wants, advance)


def _orphan(listing: Listing, orphan: Path) -> Problem:
    inside = any(
        chain.stamp < orphan.name < max(chain.names) for chain in listing.chains if chain.parts
    )
    what = "no ledger names it"
    if inside:
        what += ", and it lies between the files of a chain: repozo would restore its bytes too"
    hint = (
        "our own restore leaves it out; the next backup gives it its line if it holds just what"
        " comes next in the filestorage, or sets it aside"
    )
    return problem_of(orphan, what, hint)


def _sizes(chain: Chain, part: Part) -> Iterator[Problem]:
    path = chain.path(part)
    size = path.stat().st_size
    if not part.compressed and size != part.size:
        yield problem_of(
            path,
            f"it has {size} bytes, the ledger says {part.size}",
            chain.good_until(part),
        )
        return
    blocks, problem = _blocks(chain, part)
    if problem:
        yield problem
    if blocks and size != blocks.stored:
        yield problem_of(
            path,
            f"it has {size} bytes, {blocks.stored} were written",
            chain.good_until(part),
        )


def _chain(chain: Chain, wants: Wants, advance: Advance) -> Iterator[Problem]:
    """Yield problems of *chain*; if a merge replaces its files, go on with the new ones."""
    now: Chain | None = chain
    start = 0
    while now is not None:
        start = yield from _parts(now, start, wants, advance)
        if start == now.end:
            return
        now = again(now)


def _parts(
    chain: Chain, start: int, wants: Wants, advance: Advance
) -> Generator[Problem, None, int]:
    """Yield problems from byte *start* on; return where the chain is no longer as it was.

    That is its end if it stays as it is.
    """
    framing = Framing()
    for part in chain.parts:
        whole = False
        if part.end > start and part.name not in chain.missing and wants(chain, part):
            if was_replaced(chain, part):
                return part.start
            whole = yield from _part(chain, part, framing, advance)
        if not whole:
            # the next part can still be checked, by itself
            framing = Framing()
            framing.resume(part.end, _tid_at_end(chain, part))
    for part in chain.stray:
        if part.name not in chain.missing and wants(chain, part):
            yield from _part(chain, part, None, advance)
    return chain.end


def _part(
    chain: Chain, part: Part, framing: Framing | None, advance: Advance
) -> Generator[Problem, None, bool]:
    """Yield problems of *part*; return whether the filestorage in it is whole."""
    path = chain.path(part)
    try:
        with explained("cannot be read", path), Digested(path) as file:
            flaw = _read(checked(chain, part, file), framing, advance)
            stored = file.finish()
    except BackupError as error:
        yield problem_of(path, error.what, error.hint)
        return False
    if framing and not flaw and framing.end != part.end:
        flaw = f"it does not end where a transaction does, at byte {framing.end}"
    if flaw:
        # as the ledger says, and still no log: it was written so
        yield problem_of(path, flaw, chain.good_until(part))
        return False
    yield from stored_problems(chain, part, stored)
    return True


def stored_problems(chain: Chain, part: Part, stored: tuple[int, bytes]) -> Iterator[Problem]:
    """Yield problems with the size and digest of the data file of a whole *part*, as *stored*."""
    return _reported(_stored(chain, part, stored), chain.path(part))


def _read(pieces: Iterator[bytes], framing: Framing | None, advance: Advance) -> str:
    """Read all *pieces*; return their flaw as a log, "" if there is none."""
    flaw = ""
    for piece in pieces:
        if framing and not flaw:
            flaw = _misframed(framing, piece)
        advance(len(piece))
    return flaw


def _misframed(framing: Framing, piece: bytes) -> str:
    try:
        framing.feed(piece)
    except BackupError as error:
        return error.what
    return ""


def _tid_at_end(chain: Chain, part: Part) -> Tid:
    blocks, _problem = _blocks(chain, part)
    return blocks.tid if blocks else ZERO_TID


def _stored(chain: Chain, part: Part, stored: tuple[int, bytes]) -> Iterator[Problem]:
    """Compare the bytes of a data file, and of its index, with our digests."""
    blocks, _problem = _blocks(chain, part)
    if blocks is None:
        return
    path = chain.path(part)
    if stored != (blocks.stored, blocks.stored_digest):
        changed = problem_of(
            path,
            "it is not stored as it was written, though the filestorage in it is whole",
            "it can be restored, but a disk or a program changed it: look for the cause",
        )
        yield replace(changed, harmless=True)
    index = index_path(chain.directory, part.stamp)
    if blocks.index and index.exists() and stored_as(index)[1] != blocks.index:
        yield problem_of(
            index,
            "it is not what was written",
            "delete it: the filestorage is scanned instead when it is opened first",
        )


def _blocks(chain: Chain, part: Part) -> tuple[Blocks | None, Problem | None]:
    try:
        return check_blocks(chain.directory, part), None
    except BackupError as error:
        path = blocks_path(chain.directory, part.name)
        return None, problem_of(path, error.what, _ONLY_A_CACHE)


def _reported(problems: Iterator[Problem], path: Path) -> Iterator[Problem]:
    """Yield *problems*, and as one more that *path* cannot be read."""
    try:
        with explained("cannot be read", path):
            yield from problems
    except BackupError as error:
        yield problem_of(Path(error.where or path), error.what, error.hint)
