"""What a run may ask of stores, and how fast: limits, and runs that end before they are done."""

from __future__ import annotations

import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

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
from collective.recipe.backup.stores.opening import store_at
from collective.recipe.backup.tests.faults.harness import Hasty
from collective.recipe.backup.tests.repositories import World, back_up, points_of, states_of
from collective.recipe.backup.tests.samples import Site
from collective.recipe.backup.tests.servers import BUCKET
from collective.recipe.backup.tests.wires import wire_to

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


LIMIT = 200_000
"""Bytes a second; a piece is a quarter of that."""

SLACK = 20_000
"""Bytes of names, questions and answers around an object."""


class Watched:
    """A wire that is looked at a few times a second: when how many bytes had gone and come."""

    def __init__(self, *wires):
        self._wires = wires
        self.seen = []

    @contextmanager
    def watching(self):
        over, began, before = threading.Event(), time.monotonic(), self.total
        found = []

        def look():
            while not over.wait(0.02):
                found.append((self.total - before, time.monotonic() - began))

        thread = threading.Thread(target=look)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()
        self.seen = [*found, (self.total - before, time.monotonic() - began)]

    @property
    def total(self):
        return sum(wire.sent + wire.got for wire in self._wires)

    def fits(self, limit, burst):
        """Tell whether never more had gone than *limit* allows, but for a *burst*."""
        return all(moved <= limit * seconds + burst for moved, seconds in self.seen)


@pytest.fixture
def by_wires(sshd, in_a_home_for_sshd, tmp_path):
    """Two directories of a server, each behind a wire, and the wires."""
    with wire_to(sshd.port) as one, wire_to(sshd.port) as two:
        key = (Path(sshd.directory) / "host.pub").read_text()
        hosts = "".join(f"[127.0.0.1]:{each.port} {key}" for each in (one, two))
        (in_a_home_for_sshd / ".ssh" / "known_hosts").write_text(hosts)
        urls = []
        for name, wire in (("one", one), ("two", two)):
            (tmp_path / name).mkdir()
            urls.append(f"sftp://127.0.0.1:{wire.port}{tmp_path}/{name}")
        yield urls, (one, two)


@pytest.mark.needs("sshd")
def test_the_pace_is_even_within_an_object_and_all_stores_share_it(by_wires):
    urls, wires = by_wires
    allowance = Allowance(bandwidth=LIMIT)
    stores = [store_at(url, Hasty(), allowance) for url in urls]
    data = random.Random(1).randbytes(150_000)
    for store in stores:
        store.clock()  # it is connected
    watched = Watched(*wires)
    with watched.watching(), ThreadPoolExecutor(2) as threads:
        for each in [threads.submit(store.put, "a", data) for store in stores]:
            each.result()
    assert watched.total > 300_000
    assert watched.fits(LIMIT, 2 * LIMIT // 4 + SLACK)
    with watched.watching():
        assert stores[0].get("a") == data
    assert watched.fits(LIMIT, LIMIT // 4 + SLACK)
    for store in stores:
        store.close()


@pytest.mark.needs("sshd")
def test_an_object_on_its_slow_way_is_given_up_when_the_process_is_asked_to_end(by_wires):
    urls, (wire, _other) = by_wires
    store = store_at(urls[0], Hasty(), Allowance(bandwidth=20_000))
    with times.endable_pauses(), ThreadPoolExecutor(1) as threads:
        putting = threads.submit(store.put, "a", bytes(2_000_000))
        while wire.sent < 30_000:
            time.sleep(0.01)
        times.end_pauses()
        with pytest.raises(Interrupted):
            putting.result(20)
    assert not list(store.list())
    store.close()


@pytest.mark.needs("weed")
def test_a_bucket_keeps_to_the_mean(weed, s3_credentials, tmp_path):
    with wire_to(weed) as wire:
        url = f"s3://{BUCKET}/pace/{tmp_path.name}?endpoint=http://127.0.0.1:{wire.port}"
        store = store_at(url, Hasty(), Allowance(bandwidth=LIMIT))
        watched = Watched(wire)
        with watched.watching():
            for name in "abc":
                store.put(name, random.Random(1).randbytes(100_000))
        assert watched.fits(LIMIT, 100_000 + SLACK)
        assert store.get("a") == random.Random(1).randbytes(100_000)
        for name in "abc":
            store.delete(name)


def test_a_disk_is_written_and_read_in_pieces(tmp_path, clock):
    store = LocalStore(tmp_path / "store", Hasty(), Allowance(bandwidth=LIMIT))
    store.prepare()
    data = random.Random(1).randbytes(125_000)
    store.put("a", data)
    assert clock == [0.25, 0.25]  # the first one goes at once
    assert store.get("a") == data
    assert clock[2:] == [0.125, 0.25, 0.25]
    assert store.get("a", 125_000) == b""
    assert store.get("a", 1000, 10) == data[1000:1010]


@pytest.mark.parametrize("bandwidth", [0, 1, 70_000, 10**9])
def test_pieces_are_all_of_it_in_order(clock, bandwidth):
    allowance = Allowance(bandwidth=bandwidth)
    for size in (0, 1, 1 << 14, 1 << 16, (3 << 20) + 5):
        data = bytes(random.Random(size).randbytes(size))
        pieces = list(allowance.pieces(data))
        assert b"".join(pieces) == data
        assert all(len(each) <= (allowance.piece or size) for each in pieces)
        assert [at for at, _size in allowance.extents(7, size)] == [
            7 + sum(map(len, pieces[:number])) for number in range(len(pieces))
        ]
