"""One run backs up to several repositories at the same time."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
from contextlib import ExitStack
from pathlib import Path

import pytest

from collective.recipe.backup import history
from collective.recipe.backup.errors import (
    DONE,
    CommandFailed,
    Interrupted,
    RequestsSpent,
    StoreUnreachable,
)
from collective.recipe.backup.repository import pipeline, slots
from collective.recipe.backup.repository.bundles import NewBundle
from collective.recipe.backup.sitebackup import main
from collective.recipe.backup.stores.buckets import bucketplace
from collective.recipe.backup.tests.samples import Site, contents_of
from collective.recipe.backup.tests.scripts import PATIENCE, environment
from collective.recipe.backup.tests.servers import BUCKET, proxied
from collective.recipe.backup.tests.wires import wire_to

BUNDLE = 1 << 18
BLOB = 100_000
BLOBS = 40
LIGHT = {"passes": 1, "memory": 64, "lanes": 1}


def small_bundles(patch):
    """Let bundles be small, and keys cost little."""
    patch(pipeline, "NewBundle", lambda keyring, _full=0: NewBundle(keyring, BUNDLE))
    patch(pipeline, "_BATCH", BUNDLE)
    patch(pipeline, "BEHIND", BUNDLE)
    patch(slots, "_ARGON2", LIGHT)


@pytest.fixture(autouse=True)
def _passphrase(command, monkeypatch):
    small_bundles(monkeypatch.setattr)
    monkeypatch.setenv("SITEBACKUP_PASSPHRASE", "correct horse battery")


@pytest.fixture
def site(tmp_path, monkeypatch):
    site = Site(tmp_path / "plone")
    site.commit({"page": 1}, {"file": b"data"})
    monkeypatch.chdir(site.directory)
    return site


def configure(site, urls, **settings):
    lines = "\n".join(f"{name} {url}" for name, url in urls.items())
    where = {"datafs": "var/filestorage/Data.fs", "blob_storage": "var/blobstorage"}
    every = {**where, "repository": lines, "site_name": "plone", **settings}
    text = "".join(f"{name} = {json.dumps(value)}\n" for name, value in every.items())
    (site.directory / "sitebackup.toml").write_text(text)


def made(site, urls, **settings):
    configure(site, urls, **settings)
    for name in urls:
        assert main(["repository", "init", name, "-q"]) == DONE


def local(tmp_path, *names):
    return {name: str(tmp_path / name) for name in names}


class Elsewhere:
    """Two buckets on a server, each behind a proxy that can be told what to do."""

    def __init__(self, weed, stack, tmp_path):
        self.wires = [stack.enter_context(wire_to(weed)) for _store in range(2)]
        self.proxies = [stack.enter_context(proxied(wire.port)) for wire in self.wires]
        self.prefix = f"several/{os.getpid()}-{tmp_path.name}"

    def urls(self, name):
        return {
            store: f"s3://{BUCKET}/{self.prefix}/{name}/{store}?endpoint=http://127.0.0.1:{it.port}"
            for store, it in zip(("one", "two"), self.proxies, strict=True)
        }

    @property
    def sent(self):
        """How many bytes have gone to the server."""
        return sum(wire.sent for wire in self.wires)


@pytest.fixture
def elsewhere(weed, s3_credentials, tmp_path, monkeypatch):
    # these stores are slow at times, and none of them is away
    monkeypatch.setattr(bucketplace, "PATIENCE", bucketplace.Patience())
    with ExitStack() as stack:
        yield Elsewhere(weed, stack, tmp_path)


def is_bundle(method, path):
    return method == "PUT" and "/bundles/" in path


@pytest.mark.needs("weed")
def test_bundles_go_to_two_stores_at_the_same_time(site, elsewhere):
    both = threading.Barrier(2)

    def together(method, path, _number):
        if is_bundle(method, path):
            both.wait(PATIENCE)

    expected = site.contents()
    made(site, elsewhere.urls("a"), location="none")
    for proxy in elsewhere.proxies:
        proxy.fault = together
    assert main(["backup", "-q"]) == DONE
    for proxy in elsewhere.proxies:
        proxy.fault = lambda *_request: None
    for name in elsewhere.urls("a"):
        site.commit({"page": "spoilt"})
        assert main(["restore", "-qn", "--from", name]) == DONE
        assert contents_of(site.filestorage, site.blobstorage) == expected


@pytest.mark.needs("weed")
def test_what_is_said_of_each_store_is_in_one_piece_and_in_order(site, elsewhere, capfd):
    two_is_done = threading.Event()

    def slow(method, path, _number):
        if is_bundle(method, path):
            two_is_done.wait(PATIENCE)

    def quick(method, path, _number):
        if method == "DELETE" and "/m/t-" in path:  # its ticket, in the end
            two_is_done.set()

    made(site, elsewhere.urls("b"))
    elsewhere.proxies[0].fault, elsewhere.proxies[1].fault = slow, quick
    capfd.readouterr()
    assert main(["backup"]) == DONE
    assert two_is_done.is_set()
    lines = capfd.readouterr().err.splitlines()
    places = [line.partition(" to ")[2].partition(",")[0] for line in lines if "backing up" in line]
    assert places == ["", "one", "two"]
    begins = [number for number, line in enumerate(lines) if "backing up" in line]
    ends = [number for number, line in enumerate(lines) if line.startswith("INFO: done ")]
    assert [begin < end for begin, end in zip(begins, ends, strict=True)] == [True] * 3
    assert [end < begin for end, begin in zip(ends, begins[1:], strict=False)] == [True] * 2


def test_a_store_that_fails_stops_no_other_and_each_is_reported(site, tmp_path, capfd):
    hooks = tmp_path / "hooks"
    made(
        site,
        local(tmp_path, "a", "b", "c"),
        **{f"{name}_command": f"echo {name} >> '{hooks}'" for name in ("pre", "post", "failure")},
    )
    (tmp_path / "b").rename(tmp_path / "gone")
    capfd.readouterr()
    assert main(["backup", "-q"]) == StoreUnreachable.exit_code
    said = capfd.readouterr().err
    assert said.count("the directory of the repository is not there") == 1
    assert hooks.read_text().split() == ["pre", "failure"]
    [run] = history.read(site.directory / "var" / "backups")
    outcomes = {name: each.outcome for name, each in run.places.items()}
    assert outcomes == {"standard": "done", "a": "done", "b": "failed", "c": "done"}
    for name in ("a", "c"):
        assert main(["verify", "-q", "--from", name]) == DONE


def test_of_several_that_fail_each_is_told_in_order_and_the_first_says_the_exit_code(
    site, tmp_path, capfd
):
    made(site, local(tmp_path, "a", "b"), location="none")
    (tmp_path / "a").rename(tmp_path / "gone")
    (tmp_path / "b" / "format").unlink()
    capfd.readouterr()
    assert main(["backup", "-q"]) == StoreUnreachable.exit_code
    said = capfd.readouterr().err
    told = [line for line in said.splitlines() if not line.startswith("ERROR: hint")]
    assert len(told) == 2
    assert str(tmp_path / "b") in told[0]  # those after the first, while the run goes on
    assert str(tmp_path / "a") in told[1]


def test_the_program_that_tells_the_passphrase_is_asked_by_one_at_a_time(
    site, tmp_path, monkeypatch
):
    monkeypatch.delenv("SITEBACKUP_PASSPHRASE")
    alone = "mkdir alone; sleep 0.2; rmdir alone; echo 'correct horse'"
    made(site, local(tmp_path, "a", "b"), location="none", repository_passphrase_command=alone)
    assert main(["backup", "-q"]) == DONE
    configure(
        site,
        local(tmp_path, "a", "b"),
        location="none",
        repository_passphrase_command="exit 3",
    )
    assert main(["backup", "-q"]) == CommandFailed.exit_code


def test_a_program_that_tells_no_passphrase_ends_when_the_run_is_asked_to(
    site, tmp_path, monkeypatch
):
    urls = local(tmp_path, "a", "b")
    made(site, urls, location="none")
    monkeypatch.delenv("SITEBACKUP_PASSPHRASE")
    asked = tmp_path / "asked"
    configure(
        site,
        urls,
        location="none",
        repository_passphrase_command=f"echo > '{asked}'; exec sleep {PATIENCE}",
    )
    asking = threading.Thread(target=kill_once_there, args=(asked,))
    asking.start()
    assert main(["backup", "-q"]) == Interrupted.exit_code
    asking.join()


def kill_once_there(path: Path) -> None:
    while not path.exists():
        threading.Event().wait(0.02)
    os.kill(os.getpid(), signal.SIGTERM)


@pytest.mark.needs("weed")
def test_a_limit_of_requests_is_spent_at_one_after_the_other(site, elsewhere):
    site.commit({}, {f"blob {n}": random.Random(n).randbytes(BLOB) for n in range(BLOBS)})
    made(site, elsewhere.urls("c"), location="none")
    runs = 0
    while main(["backup", "-q", "--max-requests", "40"]) == RequestsSpent.exit_code:
        runs += 1
        assert runs < 20
    assert runs > 1
    for name in elsewhere.urls("c"):
        assert main(["verify", "-q", "--from", name]) == DONE


@pytest.fixture
def large(site):
    """Blobs of which no byte can be told from the others."""
    site.commit({}, {f"blob {n}": random.Random(n).randbytes(BLOB) for n in range(BLOBS)})
    return site


def whole_backup(site, elsewhere):
    """Return how many bytes a backup sends that nothing ends."""
    made(site, elsewhere.urls("whole"), location="none")
    before = elsewhere.sent
    assert main(["backup", "-q"]) == DONE
    assert elsewhere.sent - before > 2 * BLOB * BLOBS
    return elsewhere.sent - before


def at_bundle(number, deed):
    """Return a fault that does *deed* when so many bundles are on their way, and once alone."""
    seen, lock = [0], threading.Lock()

    def fault(method, path, _number):
        if is_bundle(method, path):
            with lock:
                seen[0] += 1
                if seen[0] == number:
                    deed()

    return fault


CUT_OFF = 2 * (BUNDLE + BLOB) * 17 // 16
"""Bytes of a bundle for each of the two workers: one that puts to each store."""

IN_ADDITION = 60 * 1500
"""Bytes of tickets, catalogs and questions of one more run."""


@pytest.mark.needs("weed")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("at", [4, 10])
def test_a_run_that_is_ended_sends_no_more_than_a_bundle_for_each_worker_again(
    large, elsewhere, number, at
):
    whole = whole_backup(large, elsewhere)
    expected = large.contents()
    made(large, elsewhere.urls("ended"), location="none")
    before = elsewhere.sent
    fault = at_bundle(at, lambda: os.kill(os.getpid(), number))
    for proxy in elsewhere.proxies:
        proxy.fault = fault
    assert main(["backup", "-q"]) == Interrupted.exit_code
    assert main(["backup", "-q"]) == DONE
    assert elsewhere.sent - before <= whole + CUT_OFF + IN_ADDITION
    for name in elsewhere.urls("ended"):
        large.commit({"page": "spoilt"})
        assert main(["restore", "-qn", "--from", name]) == DONE
        assert contents_of(large.filestorage, large.blobstorage) == expected


_KILLED = f"""
import sys
from {__name__} import small_bundles
from collective.recipe.backup.sitebackup import main
small_bundles(setattr)
sys.exit(main(["backup", "-q"]))
"""


@pytest.mark.slow
@pytest.mark.needs("weed")
@pytest.mark.parametrize("at", [4, 10])
def test_a_run_that_is_killed_sends_no_more_than_a_bundle_for_each_worker_again(
    large, elsewhere, at
):
    whole = whole_backup(large, elsewhere)
    made(large, elsewhere.urls("killed"), location="none")
    before = elsewhere.sent
    started = subprocess.Popen([sys.executable, "-c", _KILLED], env=environment())
    fault = at_bundle(at, started.kill)
    for proxy in elsewhere.proxies:
        proxy.fault = fault
    assert started.wait(PATIENCE) == -signal.SIGKILL
    assert main(["backup", "-q"]) == DONE
    assert elsewhere.sent - before <= whole + CUT_OFF + IN_ADDITION
    for name in elsewhere.urls("killed"):
        assert main(["verify", "-q", "--from", name]) == DONE
