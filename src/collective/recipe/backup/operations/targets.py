"""The paths to which a restore writes, and the locks that keep servers away from them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

from collective.recipe.backup import links, locking
from collective.recipe.backup.errors import explained
from collective.recipe.backup.files.partials import PROBE
from collective.recipe.backup.filestorage.companions import index_of
from collective.recipe.backup.model import MAIN, Source
from collective.recipe.backup.operations.restore_to import must_be_directory, refuse_used
from collective.recipe.backup.operations.run import Run
from collective.recipe.backup.restoring import undoing
from collective.recipe.backup.restoring.journal import journal_path
from collective.recipe.backup.restoring.journalcheck import check_names
from collective.recipe.backup.restoring.moves import replaced_path, staged_path


def targets_of(run: Run, to: Path | None) -> list[Source]:
    """Return the paths to restore each source to: below *to*, or (None) those of the live site.

    A symbolic link stays, and its target is replaced.  Raises BackupError for a link that root does
    not follow: see links; UsageError if *to* cannot be such a directory.
    """
    if to is not None:
        must_be_directory(to)
    targets = [
        Source(
            name=source.name,
            filestorage=_real(filestorage),
            blobstorage=_real(blobs) if blobs else None,
        )
        for source, (filestorage, blobs) in zip(run.config.sources, _places(run, to), strict=True)
    ]
    if to is not None:
        refuse_used(run.config, targets)
    return targets


def lives_of(target: Source) -> list[Path]:
    """Return all that a restore may replace: filestorage, its index and the blobstorage."""
    lives = [target.filestorage, index_of(target.filestorage)]
    return [*lives, target.blobstorage] if target.blobstorage else lives


def journal_of(targets: Sequence[Source]) -> Path:
    """Return the journal of a restore of all *targets*: one, so that they change as one."""
    return journal_path(targets[-1].filestorage)


def hold_journal(targets: Sequence[Source], locks: ExitStack) -> None:
    """Keep every other restore away.

    Raises InUse if one is at work, and IntegrityError if the journal names what its owner
    could not have changed.
    """
    directory = journal_of(targets).parent
    if directory.is_dir():
        locks.enter_context(locking.one_restore(directory))
    check_names(journal_of(targets), [path for target in targets for path in lives_of(target)])


def lock_targets(run: Run, to: Path | None, locks: ExitStack) -> list[Source]:
    """Return the paths to restore each source to, locked against every server.

    The lock lies where a server looks for it: beside a symbolic link, or beside its target if a
    site opens it by that name.  Filestorages that an earlier restore of another part has changed
    are locked as well, as it may have to be finished, or undone.
    """
    names: list[Path] = []
    for filestorage, _blobs in _places(run, to):
        names.append(_real(filestorage.parent) / filestorage.name)
        names.append(_real(filestorage))
    _lock(names, locks)
    targets = targets_of(run, to)
    hold_journal(targets, locks)
    others = [move.filestorage or move.live for move in undoing.named(journal_of(targets))]
    _lock([path for path in others if path not in names], locks)
    return targets


def _real(path: Path) -> Path:
    with explained("cannot tell what this is a link to", path):
        return Path(links.real(path))


def _lock(names: Sequence[Path], locks: ExitStack) -> None:
    for name in dict.fromkeys(names):
        if name.parent.is_dir():
            locks.enter_context(locking.closed_filestorage(name))


def _places(run: Run, to: Path | None) -> Iterator[tuple[Path, Path | None]]:
    """Yield how the filestorage and the blobstorage of each source are called there."""
    for source in run.config.sources:
        filestorage, blobs = source.filestorage, source.blobstorage
        if to is not None:
            # names may repeat, as those of blobstorages do
            place = to if source.name == MAIN else to / source.name
            filestorage = place / filestorage.name
            blobs = blobs and place / blobs.name
        yield filestorage, blobs


def sweep_beside(run: Run, targets: Sequence[Source]) -> None:
    """Remove the temporary names of a restore, an undo or a removal that died."""
    journal = journal_of(targets)
    names = {journal, journal.with_name(PROBE)}
    for live in (live for target in targets for live in lives_of(target)):
        names |= {replaced_path(live), staged_path(live), live.with_name(PROBE)}
    with explained("cannot remove what a run that died has left", journal.parent):
        for path in sorted(names):
            run.files.sweep(path.parent, of=path.name)
