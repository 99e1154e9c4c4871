"""A filestorage out of a chain: whole, or up to a moment.

The parts are those of the ledger, never just the files of the directory; each part is compared with
the ledger while it is read, and so is the framing of the log.  A caller may rely on the bytes only
once ``recover`` has returned.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from collective.recipe.backup.errors import IntegrityError, NoRestorePoint
from collective.recipe.backup.filestorage.framing import DAMAGE_HINT, Framing
from collective.recipe.backup.frozen import dataclass
from collective.recipe.backup.progress import Advance, Progress
from collective.recipe.backup.repozo.chains import Chain
from collective.recipe.backup.repozo.ledger import Part
from collective.recipe.backup.repozo.partreading import checked
from collective.recipe.backup.repozo.savedindex import index_for
from collective.recipe.backup.times import ZERO_TID, Tid

__all__ = ["Recovered", "index_for", "recover"]

Write = Callable[[bytes], object]


@dataclass(frozen=True)
class Recovered:
    """The end of a recovered filestorage."""

    end: int  # bytes
    tid: Tid | None  # of the last transaction; None: there is none
    packed: Tid  # last tid that a pack rewrote; ZERO_TID: none


def recover(
    chain: Chain,
    write: Write,
    *,
    through: str | None,
    until: Tid | None,
    progress: Progress,
) -> Recovered:
    """Give the filestorage to *write*, piece by piece; return what it was.

    *through* is the stamp of the last part (None: the newest).  With *until* it ends after
    the last transaction that is not later; parts after that are not read, the part that
    holds it is checked to its end.  Raises IntegrityError, which names the file, and
    NoRestorePoint if the chain has no part of that stamp.
    """
    parts = wanted(chain, through)
    framing = Framing(until=until)
    with progress.phase("restoring the filestorage", parts[-1].end) as advance:
        for piece in flow(chain, parts, framing, advance):
            # callers accept views as well as bytes
            write(piece)  # type: ignore[arg-type]
    return Recovered(framing.end, framing.tid, framing.packed or ZERO_TID)


def flow(
    chain: Chain, parts: Sequence[Part], framing: Framing, advance: Advance
) -> Iterator[memoryview]:
    """Yield the log that *parts*, some in a row, hold, up to where *framing* ends it.

    Parts behind that are not read; that in which it ends is, so that it is compared with the
    ledger.  Raises IntegrityError, which names the file.
    """
    for part in parts:
        for piece in checked(chain, part):
            if not framing.done and (data := _fed(framing, piece, chain, part)):
                yield data
            advance(len(piece))
        if framing.ends:
            break
    _finish(framing, chain, parts)


def wanted(chain: Chain, through: str | None) -> Sequence[Part]:
    """Return the parts up to that of the stamp *through*, all of whose files are there.

    Raises IntegrityError or NoRestorePoint where this cannot be had.
    """
    if chain.broken and (through is None or through in {part.stamp for part in chain.stray}):
        raise IntegrityError(
            f"the ledger does not join: {chain.broken}",
            where=chain.ledger,
            hint=chain.good_until(chain.stray[0]),
        )
    try:
        parts = chain.up_to(through)
    except KeyError:
        if chain.unread:
            raise IntegrityError(
                f"line {chain.unread[0]} of the ledger cannot be read, and none that can names "
                f"a backup of {through}",
                where=chain.ledger,
                hint=DAMAGE_HINT,
            ) from None
        raise NoRestorePoint(
            f"there is no backup of {through}",
            where=chain.ledger,
            hint=f"this chain has {', '.join(part.stamp for part in chain.parts[-20:])}",
        ) from None
    for part in parts:
        if part.name in chain.missing:
            raise IntegrityError(
                "the backup is missing", where=chain.path(part), hint=chain.good_until(part)
            )
    return parts


def _fed(framing: Framing, piece: bytes, chain: Chain, part: Part) -> memoryview:
    try:
        return framing.feed(piece)
    except IntegrityError as error:
        raise _misframed(error, chain, part) from error


def _finish(framing: Framing, chain: Chain, parts: Sequence[Part]) -> None:
    try:
        framing.finish()
    except IntegrityError as error:
        raise _misframed(error, chain, parts[-1]) from error


def _misframed(error: IntegrityError, chain: Chain, part: Part) -> IntegrityError:
    return IntegrityError(error.what, where=chain.path(part), hint=chain.good_until(part))
