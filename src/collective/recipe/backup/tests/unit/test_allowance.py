"""What a run may ask of stores, and how fast: limits, and runs that end before they are done."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from collective.recipe.backup import times
from collective.recipe.backup.errors import (
    DONE,
    BackupError,
    Interrupted,
    RequestsSpent,
    StoreUnreachable,
)
from collective.recipe.backup.repository import pipeline, writing
from collective.recipe.backup.repository.bundles import NewBundle
from collective.recipe.backup.repository.chunks import LEAF
from collective.recipe.backup.repository.writing import ChunkWriter
from collective.recipe.backup.sitebackup import main
from collective.recipe.backup.stores.allowance import LEAST, Allowance
from collective.recipe.backup.stores.local import LocalStore
from collective.recipe.backup.tests.faults.harness import Hasty
from collective.recipe.backup.tests.repositories import World, back_up, points_of, states_of
from collective.recipe.backup.tests.samples import Site

BUNDLE = 1 << 16
VALUE = 1 << 14


@pytest.fixture
def clock(monkeypatch):
    """A clock that only pauses move; they are noted."""
    waited = []
    monkeypatch.setattr(times, "monotonic", lambda: sum(waited))
    monkeypatch.setattr(times, "pause_or_end", waited.append)
    return waited


def test_bytes_wait_until_those_before_them_are_paid_for(clock):
    allowance = Allowance(bandwidth=1000)
    for size in (500, 2000, 0, 1000):
        allowance.move(size)
    assert clock == [0.5, 2.0]


def test_without_a_limit_no_byte_waits(clock):
    Allowance().move(1 << 40)
    assert clock == []


def test_what_waits_for_its_turn_ends_when_the_process_is_asked_to():
    allowance = Allowance(bandwidth=1)
    allowance.move(10**6)
    with times.endable_pauses():
        times.end_pauses()
        with pytest.raises(Interrupted):
            allowance.move(1)


@pytest.fixture
def world(tmp_path, monkeypatch):
    """A repository in a directory, in which bundles are small."""
    for name in ("_FULL_NODES", "_BATCH", "BEHIND"):
        monkeypatch.setattr(pipeline, name, BUNDLE)
    monkeypatch.setattr(writing, "_MOST_BYTES_ASKED", BUNDLE)
    monkeypatch.setattr(pipeline, "NewBundle", lambda keyring, _full=0: NewBundle(keyring, BUNDLE))
    return World(tmp_path, LocalStore(tmp_path / "store", Hasty()))


def state_of(values: int) -> dict[str, bytes]:
    return {f"{number:03}": random.Random(number).randbytes(VALUE) for number in range(values)}


def bundles_in(world: World) -> int:
    return len(list(world.store.list("bundles/")))


def attempt(world: World, tmp_path, state, requests: int | None) -> Allowance:
    allowance = Allowance(requests=requests)
    store = LocalStore(tmp_path / "store", Hasty(), allowance)
    store.promises = replace(store.promises, parallel=3)
    with world.open("cache", store) as repository:
        back_up(repository, state)
    return allowance


@pytest.mark.parametrize("requests", [LEAST, 25, 40])
def test_runs_that_may_ask_for_little_get_done_one_after_the_other(world, tmp_path, requests):
    state = state_of(200)
    before, runs, done = 0, 0, False
    while not done:
        runs += 1
        try:
            attempt(world, tmp_path, state, requests)
        except RequestsSpent as error:
            assert error.hint
            assert bundles_in(world) > before
            # the one that follows need not look for what was stored
            assert not list(world.store.list("m/t-"))
            with world.open() as repository:
                assert len(repository.index.bundles()) == bundles_in(world)
            before = bundles_in(world)
        else:
            done = True
    assert runs > 1
    with world.open() as repository:
        assert list(states_of(repository).values()) == [state]
        assert len(points_of(repository)) == 1
    # each run sends one bundle of leaves and one of nodes that are not full, and no chunk twice
    assert bundles_in(world) <= 200 * VALUE / BUNDLE + 2 * runs


@pytest.mark.parametrize("values", range(15, 60, 3))
def test_wherever_a_run_has_to_end_the_next_ones_use_what_it_has_stored(world, tmp_path, values):
    state, runs = state_of(values), 1
    while runs < 5:
        try:
            attempt(world, tmp_path, state, LEAST)
        except RequestsSpent:
            runs += 1
        else:
            break
    with world.open() as repository:
        assert list(states_of(repository).values()) == [state]
    assert bundles_in(world) <= values * VALUE / BUNDLE + 1 + runs


def test_no_run_asks_for_more_than_it_may(world, tmp_path, monkeypatch):
    made = []
    ask = Allowance.ask
    monkeypatch.setattr(Allowance, "ask", lambda *args: (ask(*args), made.append(1)))
    made.clear()
    with pytest.raises(RequestsSpent):
        attempt(world, tmp_path, state_of(200), LEAST)
    assert len(made) <= LEAST
    assert attempt(world, tmp_path, state_of(200), None).asked > LEAST


@pytest.mark.parametrize("at", [40, 99, 150])
def test_an_interrupted_run_sends_little_twice(world, tmp_path, at):
    whole = state_of(200)

    class Interrupting(dict):
        def __getitem__(self, name):
            if name == f"{at:03}":
                raise KeyboardInterrupt
            return super().__getitem__(name)

    with pytest.raises(KeyboardInterrupt):
        attempt(world, tmp_path, Interrupting(whole), None)
    before = bundles_in(world)
    assert before >= at * VALUE / BUNDLE / 4  # some more are on their way
    attempt(world, tmp_path, whole, None)
    with world.open() as repository:
        assert list(states_of(repository).values()) == [whole]
    assert bundles_in(world) <= 200 * VALUE / BUNDLE + 4


class Unsure(LocalStore):
    """A store that has the first bundle, does not say so, and cannot be asked."""

    promises = replace(LocalStore.promises, parallel=3)
    answer: BackupError  # to who asks for a bundle

    def put(self, name, data, *, bulk=False):
        is_first = name.startswith("bundles/") and not list(self.list("bundles/"))
        moment = super().put(name, data, bulk=bulk)
        if is_first:
            raise StoreUnreachable("the connection broke")
        return moment

    def get(self, name, start=0, size=None):
        if name.startswith("bundles/"):
            raise self.answer
        return super().get(name, start, size)


@pytest.mark.parametrize("answer", [StoreUnreachable("it is gone"), RequestsSpent("used up")])
def test_a_bundle_that_a_run_was_unsure_of_is_found_by_the_next_one(world, tmp_path, answer):
    state = state_of(12)
    store = Unsure(tmp_path / "store", Hasty())
    store.answer = answer
    with (
        pytest.raises(RequestsSpent),
        world.open("cache", store) as repository,
        ChunkWriter(repository, "backup", "site") as writer,
    ):
        for value in state.values():
            writer.add(LEAF, value)
        raise RequestsSpent("used up")
    assert bundles_in(world)
    assert list(world.store.list("m/t-"))
    attempt(world, tmp_path, state, None)
    with world.open() as repository:
        assert len(repository.index.bundles()) == bundles_in(world)


@pytest.fixture
def project(tmp_path, monkeypatch, command):
    site = Site(tmp_path / "plone")
    site.commit({"page": 1}, {"file": b"data" * 1000})
    monkeypatch.chdir(site.directory)
    monkeypatch.setenv("SITEBACKUP_PASSPHRASE", "correct horse battery")
    (site.directory / "sitebackup.toml").write_text(
        'datafs = "var/filestorage/Data.fs"\nblob_storage = "var/blobstorage"\n'
        f'repository = "{tmp_path}/store"\nlocation = "none"\nrepository_bandwidth_limit = "1GB"\n'
    )
    assert main(["repository", "init", "-q"]) == DONE
    return site


def test_a_command_says_that_its_requests_are_used_up(project, capfd, monkeypatch):
    monkeypatch.setattr("collective.recipe.backup.stores.allowance._AT_THE_END", LEAST)
    assert main(["backup", "-q", "--max-requests", "20"]) == BackupError.exit_code
    said = capfd.readouterr().err
    assert "the 20 requests that this run may make are used up" in said
    assert "hint: what was stored already is not sent again" in said
    assert main(["backup", "-q", "--max-requests", "1"]) == 2
    assert "20 or more" in capfd.readouterr().err
    assert main(["backup", "-q", "--follow", "--max-requests", "20"]) == 2


def test_a_backup_waits_for_the_limit_and_a_restore_does_not(project, monkeypatch):
    seen = []
    monkeypatch.setattr(
        Allowance, "move", lambda self, size: seen.append((self._bandwidth, size > 0))
    )
    assert main(["backup", "-q"]) == DONE
    assert (10**9, True) in seen
    seen.clear()
    assert main(["restore", "-q", "--no-prompt"]) == DONE
    assert {limit for limit, _size in seen} == {0}
