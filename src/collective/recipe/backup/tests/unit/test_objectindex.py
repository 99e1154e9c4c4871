"""The index of a moment is the one that ZODB would have."""

from __future__ import annotations

import random
from array import array
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from ZODB.fsIndex import fsIndex
from ZODB.utils import p64, u64

from collective.recipe.backup.filestorage.manyplaces import ManyPlaces
from collective.recipe.backup.served import objectindex
from collective.recipe.backup.served.objectindex import ObjectIndex, index_of


class Told:
    """A log that has no index, and tells the places of its records in some batches."""

    def __init__(self, batches: list[ManyPlaces]) -> None:
        self.batches = batches

    def saved_index(self) -> Path | None:
        return None

    def places(self, start: int) -> list[ManyPlaces]:
        assert start == 4
        return self.batches


@pytest.mark.parametrize("few", [1, 50, 1 << 20])
@pytest.mark.parametrize("greatest", [200, 1 << 20, 1 << 63], ids=["one", "some", "all"])
def test_the_last_place_of_each_object_is_in_the_index(
    monkeypatch: pytest.MonkeyPatch, few: int, greatest: int
) -> None:
    """However many prefixes their oids have, and however many wait to be sorted in."""
    monkeypatch.setattr(objectindex, "_FEW", few)
    chance = random.Random(7)
    batches, expected, place = [], fsIndex(), 4
    for _batch in range(20):
        oids = [chance.randrange(greatest).to_bytes(8, "big") for _ in range(chance.randrange(90))]
        places = []
        for oid in oids:
            place += chance.randrange(1, 1 << 40)
            expected[oid] = place
            places.append(place)
        batches.append(ManyPlaces(b"".join(oids), array("Q", places)))
    found = index_of(Told(batches))  # type: ignore[arg-type]
    for oid, place in expected.items():
        assert found.get(oid) == place
    assert len(found) == len(expected) > 100
    assert list(oids_of(found)) == list(expected)


def oids_of(index: ObjectIndex) -> Iterator[bytes]:
    """Yield all oids, as ZODB walks over a storage."""
    oid: bytes | None = None
    with suppress(ValueError):
        while True:
            oid = index.minKey(oid)
            yield oid
            oid = p64(u64(oid) + 1)


def test_an_index_tells_what_is_not_there() -> None:
    index = ObjectIndex({})
    index.add(ManyPlaces(p64(5) + p64(1 << 20) + p64(5), array("Q", [44, 66, 88])))
    assert [index.get(p64(oid)) for oid in (4, 5, 6, 1 << 20, 1 << 40)] == [
        None,
        88,
        None,
        66,
        None,
    ]
    assert index.minKey(p64(6)) == p64(1 << 20)
    with pytest.raises(ValueError, match="no further object"):
        index.minKey(p64((1 << 20) + 1))
    assert len(index) == 2
    assert len(ObjectIndex({})) == 0
    with pytest.raises(ValueError, match="no further object"):
        ObjectIndex({}).minKey()
