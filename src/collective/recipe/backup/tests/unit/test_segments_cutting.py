"""Where a log is cut: never elsewhere when it grows, and soon alike whatever was before."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from statistics import median

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collective.recipe.backup.filestorage.format import Transaction
from collective.recipe.backup.filestorage.segments.segmentends import GREATEST, LEAST, Cutter
from collective.recipe.backup.filestorage.segments.segmentkeys import Keys
from collective.recipe.backup.tests import logs
from collective.recipe.backup.tests.segmented import SECRET

KEYS = Keys(SECRET)
MIB = 1 << 20
SIZES = st.integers(31, 40_000) | st.integers(31, MIB) | st.integers(31, 9 * MIB)


def transactions(sizes: Iterable[int], *, begin: int = 4, number: int = 1) -> Iterator[Transaction]:
    """Yield transactions of these sizes, with the tids *number*, *number* + 1..."""
    for tid, size in enumerate(sizes, number):
        yield Transaction(logs.tid(tid), begin, begin + size, False, False, begin + 23)
        begin += size


def cuts(log: Iterable[Transaction], keys: Keys = KEYS, begin: int = 4) -> list[int]:
    """Return the offsets at which a log is cut."""
    cutter, found = Cutter(keys, begin), []
    for transaction in log:
        if cutter.ends_before(transaction):
            found.append(transaction.begin)
        if cutter.ends_after(transaction):
            found.append(transaction.end)
    return found


@given(st.lists(SIZES, max_size=60))
def test_cuts_of_a_log_that_grows_never_move(sizes):
    whole = cuts(transactions(sizes))
    for count in range(len(sizes)):
        before = cuts(transactions(sizes[:count]))
        assert before == whole[: len(before)]


@given(st.lists(SIZES, min_size=1, max_size=60))
def test_cutting_goes_on_from_any_cut(sizes):
    log = list(transactions(sizes))
    whole = cuts(log)
    for number, cut in enumerate(whole):
        rest = [each for each in log if each.begin >= cut]
        assert cuts(rest, begin=cut) == whole[number + 1 :]


@given(st.lists(SIZES, max_size=60))
def test_a_segment_has_its_size_but_around_a_transaction_that_is_too_large(sizes):
    log = list(transactions(sizes))
    ends = {each.end: each.end - each.begin for each in log}
    begins = {each.begin: each.end - each.begin for each in log}
    for begin, end in pairwise([4, *cuts(log)]):
        alone = ends[end] == end - begin
        assert end - begin <= GREATEST or alone
        # what follows did not fit any more
        assert end - begin >= LEAST or end - begin + begins[end] > GREATEST


@pytest.mark.parametrize("size", [2_000, 70_000, 900_000])
def test_segments_have_two_mib_on_average_however_large_transactions_are(size):
    chance = random.Random(size)
    sizes = [chance.randint(size // 2, size * 3 // 2) for _number in range(100 * MIB // size)]
    found = cuts(transactions(sizes))
    assert 1.5 * MIB < sum(sizes) / len(found) < 2.5 * MIB


def test_cuts_depend_on_the_key():
    sizes = [10_000] * 3000
    others = cuts(transactions(sizes), Keys(bytes(32)))
    assert len(set(others) & set(cuts(transactions(sizes)))) < len(others) / 4


def passed_before_alike(chance: random.Random) -> int:
    """Return how many bytes two logs have in common before they are cut at one place.

    From there on they must be cut alike.
    """
    size = chance.choice([2_000, 20_000, 200_000])
    shared = [chance.randint(31, 2 * size) for _number in range(40 * MIB // size)]
    before = [chance.randint(31, 2 * size) for _number in range(chance.randint(1, 4 * MIB // size))]
    tid = chance.randrange(1 << 20, 1 << 39)
    one = list(transactions(shared, number=tid))
    other = [*transactions(before), *transactions(shared, begin=4 + sum(before), number=tid)]
    found = [place - 4 for place in cuts(one)]
    moved = [place - 4 - sum(before) for place in cuts(other)]
    return alike_from(found, moved)


def alike_from(one: Sequence[int], other: Sequence[int]) -> int:
    """Return the first cut that both have, after checking that all later ones are common."""
    first = min(set(one) & set(other))
    assert [each for each in one if each >= first] == [each for each in other if each >= first]
    return first


def test_logs_with_a_common_end_are_soon_cut_alike():
    chance = random.Random(11)
    passed = sorted(passed_before_alike(chance) for _number in range(60))
    assert median(passed) < 4 * MIB
    assert passed[-1] < 16 * MIB
