"""What check-store finds: on stores that keep the contract, and on some that do not."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest

from collective.recipe.backup import times
from collective.recipe.backup.errors import IntegrityError, StoreRefused, StoreUnreachable
from collective.recipe.backup.findings import DoctorSeverity
from collective.recipe.backup.stores.memory import MemoryStore
from collective.recipe.backup.stores.proving import prove


def findings(store, severity, now=None):
    found = prove(store, now or times.utcnow())
    assert all(each.hint for each in found if each.severity is DoctorSeverity.WARNING)
    return " / ".join(each.what for each in found if each.severity is severity)


def test_a_store_that_keeps_the_contract_is_found_sound_and_left_as_it_was():
    store = MemoryStore()
    store.put("m/a", b"x")
    assert findings(store, DoctorSeverity.PROBLEM) == ""
    assert findings(store, DoctorSeverity.WARNING) == ""
    assert list(store.objects) == ["m/a"]
    # two of the puts of "a", the race, the time, and the large one
    told = findings(store, DoctorSeverity.OK)
    assert (
        "it was asked to put 12 times, to list 3 times, to get 4 times, for the time 2 times, "
        "to remove 4 times" in told
    )


class Careless(MemoryStore):
    """One that says yes to each put."""

    def put(self, name, data, *, bulk=False):
        self.objects.pop(name, None)
        return super().put(name, data)


def test_a_store_that_ignores_conditions_is_named():
    warnings = findings(Careless(), DoctorSeverity.WARNING)
    assert "ignores the condition" in warnings
    assert "at the same moment 8 succeed" in warnings


class Keeping(MemoryStore):
    def delete(self, name):
        raise StoreRefused("no")


def test_a_credential_that_may_not_remove_is_told_and_what_stays():
    store = Keeping()
    assert "may not remove; 4 small objects stay below check/" in findings(
        store, DoctorSeverity.WARNING
    )


class Lagging(MemoryStore):
    def list(self, prefix=""):
        return iter(())


def test_a_listing_that_lags_is_a_problem():
    assert "a listing lacks" in findings(Lagging(), DoctorSeverity.PROBLEM)


def test_a_clock_that_is_wrong_is_told():
    moment = datetime(2026, 3, 1, tzinfo=timezone.utc)
    store = MemoryStore(lambda: moment)
    warnings = findings(store, DoctorSeverity.WARNING, moment + timedelta(days=2))
    assert "behind this machine" in warnings


class Away(MemoryStore):
    """One that is waited for in vain, each time."""

    waits = 0

    def _wait(self, *_arguments, **_options):
        self.waits += 1
        raise StoreUnreachable("gone")

    put = get = list = delete = clock = _wait


def test_a_store_that_is_away_is_an_error_and_no_finding_and_is_waited_for_once():
    store = Away()
    with pytest.raises(StoreUnreachable):
        prove(store, times.utcnow())
    assert store.waits == 1


class Breaking(MemoryStore):
    def get(self, name, start=0, size=None):
        raise IntegrityError("its disk cannot read that")


def test_a_store_that_fails_is_left_as_it_was():
    store = Breaking()
    with pytest.raises(IntegrityError):
        prove(store, times.utcnow())
    assert not store.objects
