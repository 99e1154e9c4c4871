"""Moving chunks out of a bundle into new ones, each proved on the way.

Collect moves the needed chunks of half-empty bundles, and heal the readable chunks of damaged ones.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

from collective.recipe.backup.errors import IntegrityError
from collective.recipe.backup.repository.chunks import ChunkId
from collective.recipe.backup.repository.names import bundle_name
from collective.recipe.backup.repository.opened import Repository
from collective.recipe.backup.repository.places import ChunkPlace
from collective.recipe.backup.repository.ranges import Wanted
from collective.recipe.backup.repository.reading import opened_chunk
from collective.recipe.backup.repository.sealing import BrokenSealError, Sort
from collective.recipe.backup.repository.writing import ChunkWriter
from collective.recipe.backup.stores import NoSuchObject

_RANGE = 4 << 20
"""Bytes of one get, if that is enough for one chunk."""


def in_bundle(repository: Repository, bundle: bytes, chunks: Iterable[ChunkId]) -> list[Wanted]:
    """Return those of *chunks* that lie in the bundle with this ID, in their order there."""
    found = [
        (chunk, place)
        for chunk, places in repository.index.of(chunks)
        for place in places
        if place.bundle == bundle
    ]
    return sorted(found, key=lambda each: each[1].offset)


def move(repository: Repository, writer: ChunkWriter, wanted: Collection[Wanted]) -> list[ChunkId]:
    """Store the chunks *wanted* of one bundle again; return those that cannot be read there."""
    lost = []
    for (chunk, place), data in read_in_bundle(repository, wanted):
        if isinstance(data, bytes):
            writer.store_again(place.kind, chunk, data)
        else:
            lost.append(chunk)
    return lost


def read_in_bundle(
    repository: Repository, wanted: Collection[Wanted]
) -> Iterator[tuple[Wanted, bytes | BrokenSealError]]:
    """Yield the chunks *wanted* of one bundle, each with its bytes or the error of reading it."""
    for group in _grouped(wanted):
        first, last = group[0][1], group[-1][1]
        size = last.offset + last.stored - first.offset
        try:
            data = repository.store.get(bundle_name(first.bundle), first.offset, size)
        except (NoSuchObject, IntegrityError) as error:
            if len(group) == 1:
                yield group[0], BrokenSealError(str(error))
            else:
                for each in group:
                    yield from read_in_bundle(repository, [each])
            continue
        seal = repository.keyring.seal(Sort.BUNDLE, first.salt)
        for each in group:
            begin = each[1].offset - first.offset
            sealed = memoryview(data)[begin : begin + each[1].stored]
            try:
                yield each, opened_chunk(repository.keyring, seal, each, sealed)
            except BrokenSealError as error:
                yield each, error


def _grouped(wanted: Iterable[Wanted]) -> Iterator[list[Wanted]]:
    """Yield neighbours together, as far as one get should have them."""
    group: list[Wanted] = []
    for each in wanted:
        place: ChunkPlace = each[1]
        if group and place.offset + place.stored - group[0][1].offset > _RANGE:
            yield group
            group = []
        group.append(each)
    if group:
        yield group
