"""Figures of a repository: objects and bytes of each kind."""

from __future__ import annotations

from collective.recipe.backup.frozen import dataclass
from collective.recipe.backup.repository.names import BUNDLES, CATALOGS, FORMAT, KEYS
from collective.recipe.backup.repository.needs import Bundles, needed_bundles
from collective.recipe.backup.repository.opened import Repository
from collective.recipe.backup.repository.reaching import Reached
from collective.recipe.backup.repository.standing import Standing, standing


@dataclass(frozen=True)
class ObjectTotals:
    """Objects of one kind."""

    objects: int  # how many there are
    size: int  # bytes


@dataclass(frozen=True)
class Numbers:
    """The figures of a repository."""

    kinds: dict[str, ObjectTotals]  # by the word for the kind
    standing: Standing  # restore points
    bundles: Bundles  # bundles, and how much of each is needed
    distrusted: int  # bundles under marks


_WORDS = {BUNDLES: "bundles", CATALOGS: "catalogs", KEYS: "keys", FORMAT: "format"}


def numbers(repository: Repository) -> Numbers:
    """Return what the repository holds; all nodes are read for it, and two listings made."""
    kinds: dict[str, ObjectTotals] = {}
    for entry in repository.store.list():
        word = next(
            (word for prefix, word in _WORDS.items() if entry.name.startswith(prefix)), "control"
        )
        before = kinds.get(word, ObjectTotals(0, 0))
        kinds[word] = ObjectTotals(before.objects + 1, before.size + entry.size)
    control = repository.look()
    marked = frozenset().union(
        *(repository.controls.mark(entry).bundles for entry in control.marks)
    )
    found = standing(repository, control)
    repository.index.refresh()
    reached = Reached()
    try:
        bundles = needed_bundles(repository, found.readable, reached, marked)
    finally:
        reached.close()
    return Numbers(kinds, found, bundles, len(marked))
