"""A store in a bucket, on a real server, with what breaks on the way to it."""

from __future__ import annotations

import itertools
import os
import socket
import threading
import traceback
from dataclasses import replace
from datetime import datetime, timedelta, timezone

import pytest

from collective.recipe.backup.errors import (
    BackupError,
    ConfigurationError,
    StoreRefused,
    StoreUnreachable,
)
from collective.recipe.backup.files import Files
from collective.recipe.backup.repository.names import id_of
from collective.recipe.backup.repository.puts import put
from collective.recipe.backup.stores import NoSuchObject, ObjectExists
from collective.recipe.backup.stores.allowance import Allowance
from collective.recipe.backup.stores.buckets import bucketplace
from collective.recipe.backup.stores.buckets.awsprofile import read_profile
from collective.recipe.backup.stores.buckets.bucketplace import bucket_at
from collective.recipe.backup.stores.buckets.bucketstore import BucketStore
from collective.recipe.backup.stores.opening import store_at
from collective.recipe.backup.tests.contracts.store import NAME, StoreContract, names
from collective.recipe.backup.tests.servers import (
    BUCKET,
    KEY,
    SECRET,
    answer,
    proxied,
)

_prefixes = itertools.count(1)


@pytest.fixture(autouse=True)
def _credentials(s3_credentials):
    """Those of the site."""


@pytest.fixture
def prefix():
    """A place that no other test has."""
    return f"{os.getpid()}/{next(_prefixes)}"


def bucket(port: int, prefix: str, name: str = BUCKET) -> BucketStore:
    return BucketStore(bucket_at(f"s3://{name}/{prefix}?endpoint=http://127.0.0.1:{port}"))


@pytest.mark.needs("weed")
class TestBucket(StoreContract):
    @pytest.fixture
    def store(self, weed, prefix):
        return bucket(weed, prefix)


@pytest.fixture
def proxy(weed):
    with proxied(weed) as proxy:
        yield proxy


@pytest.fixture
def store(proxy, prefix):
    store = bucket(proxy.port, prefix)
    yield store
    store.close()


@pytest.mark.parametrize(
    "more", ["", 'ETag: "x"\r\nLast-Modified: Sun, 1 Mar 2026 00:00:00 GMT\r\n']
)
@pytest.mark.parametrize("kind", ["text/html; charset=utf-8", "application/xml"])
def test_a_page_that_answers_in_the_place_of_the_store_is_no_store(more, kind):
    page = "<?xml version='1.0'?><html><body>Log in</body></html>"
    head = f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\n{more}Connection: close\r\n"
    said = f"{head}Content-Length: {len(page)}\r\n\r\n"
    with proxied(0) as proxy:
        proxy.fault = lambda method, *_rest: f"{said}{'' if method == 'HEAD' else page}".encode()
        store = bucket(proxy.port, "a")
        asks = {**every_ask(store), "range": lambda: store.get(NAME, 1, 2)}
        del asks["delete"]  # what is still there, the next listing shows
        for ask in asks.values():
            with pytest.raises(StoreUnreachable) as caught:
                ask()
            assert "answer" in caught.value.what
            assert "endpoint right" in caught.value.hint


def test_a_server_that_says_nothing_when_it_has_all_is_given_up(impatient, monkeypatch):
    patience = replace(bucketplace.PATIENCE, whole=600)
    monkeypatch.setattr(bucketplace, "PATIENCE", patience)
    with socket.create_server(("127.0.0.1", 0)) as server:

        def hang_up() -> None:
            server.accept()[0].close()

        # who waits for as long as a request may last meets this
        hanging_up = threading.Timer(30, hang_up)
        hanging_up.daemon = True
        hanging_up.start()
        store = bucket(server.getsockname()[1], "a")  # the system takes what is sent
        with pytest.raises(StoreUnreachable) as caught:
            store.put("m/a", bytes(10_000))
        hanging_up.cancel()
    assert "does not answer in time" in caught.value.what


@pytest.mark.needs("weed")
def test_each_request_is_counted(proxy, prefix):
    allowance = Allowance()
    place = bucket_at(f"s3://{BUCKET}/{prefix}?endpoint=http://127.0.0.1:{proxy.port}")
    store = BucketStore(place, allowance)
    store.put(NAME, b"0123456789")
    with pytest.raises(ObjectExists):
        store.put("m/a", b"") and store.put("m/a", b"")
    for start, size in [(0, None), (2, 3), (10, None), (0, 0)]:
        store.get(NAME, start, size)
    assert names(store) == [NAME, "m/a"]
    store.delete(NAME)
    store.clock()
    # one that exists already is not asked about
    assert allowance.asked == len(proxy.asked) + 1


def every_ask(store):
    return {
        "put": lambda: store.put(NAME, b"x"),
        "get": lambda: store.get(NAME),
        "list": lambda: names(store),
        "delete": lambda: store.delete(NAME),
    }


def refusals(store):
    """Return the error of each operation."""
    found = {}
    for name, ask in every_ask(store).items():
        with pytest.raises(BackupError) as caught:
            ask()
        assert caught.value.hint
        found[name] = caught.value
    return found


@pytest.mark.needs("weed")
@pytest.mark.parametrize(
    "fault",
    ["reset", "lost", answer(503, "SlowDown"), answer(500, "InternalError"), answer(409, "Again")],
    ids=["reset", "lost", "throttled", "error", "conflict"],
)
def test_a_put_that_fails_for_a_moment_is_made_once_whatever_became_of_it(proxy, store, fault):
    struck = []

    def once(method, _path, _number):
        if method == "PUT" and not struck:
            struck.append(method)
            return fault
        return None

    proxy.fault = once
    data = b"a bundle" * 1000
    put(store, f"bundles/ab/{id_of(data)}", data)
    assert struck
    assert store.get(f"bundles/ab/{id_of(data)}") == data
    assert len(names(store)) == 1


@pytest.mark.needs("weed")
def test_a_read_goes_on_over_answers_that_fail_for_a_moment(proxy, store):
    store.put(NAME, b"0123456789")
    before = len(proxy.asked)
    proxy.fault = lambda _method, _path, number: ["reset", answer(503, "SlowDown"), "lost", None][
        min(number - before - 1, 3)
    ]
    assert store.get(NAME, 2, 3) == b"234"


@pytest.mark.needs("weed")
def test_a_put_is_one_request_and_one_that_asks_for_its_time(proxy, store):
    store.put(NAME, bytes(30_000_000))
    assert [method for method, _path in proxy.asked] == ["PUT", "HEAD"]


@pytest.mark.needs("weed")
def test_a_store_that_stays_overloaded_is_given_up_with_what_to_do(proxy, store):
    proxy.fault = lambda *_request: answer(503, "SlowDown")
    for error in refusals(store).values():
        assert type(error) is StoreUnreachable
        assert "overloaded (SlowDown)" in error.what
        assert error.exit_code == 6


@pytest.mark.needs("weed")
def test_connections_that_always_break_are_told(proxy, store):
    proxy.fault = lambda *_request: "reset"
    for error in refusals(store).values():
        assert type(error) is StoreUnreachable
        assert "connection to the store" in error.what


def test_a_server_that_is_not_there_is_told(prefix):
    for error in refusals(bucket(1, prefix)).values():
        assert type(error) is StoreUnreachable
        assert "no connection to the store" in error.what
        assert "network" in error.hint
    with pytest.raises(StoreUnreachable, match="ask the store for the time"):
        bucket(1, prefix).clock()


@pytest.mark.needs("weed")
def test_an_answer_that_is_nonsense_is_told(proxy, store):
    page = b"<html><p>Log in to the <br>hotel network</html>"
    head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % len(page)
    proxy.fault = lambda *_request: head + page
    for ask in (lambda: names(store), lambda: store.put(NAME, b"x")):
        with pytest.raises(StoreUnreachable) as caught:
            ask()
        assert caught.value.hint


@pytest.mark.needs("weed")
def test_a_bucket_that_is_full_says_so(proxy, store):
    proxy.fault = lambda *_request: answer(403, "QuotaExceeded")
    with pytest.raises(BackupError, match="quota"):
        put(store, NAME, b"x")


@pytest.mark.needs("weed")
def test_a_bucket_that_does_not_exist_is_named(weed, prefix):
    for error in refusals(bucket(weed, prefix, "not-here")).values():
        assert type(error) is StoreUnreachable
        assert "no such bucket" in error.what
        assert "not-here" in error.where


@pytest.mark.needs("weed")
@pytest.mark.parametrize(
    ("key", "secret", "words"),
    [
        (KEY, "WRONG", "does not accept the credential (SignatureDoesNotMatch)"),
        ("STRANGER", SECRET, "does not accept the credential (InvalidAccessKeyId)"),
        ("READER", SECRET, "may not do that (AccessDenied)"),
    ],
)
def test_a_credential_that_is_wrong_or_too_weak_is_told(
    weed, prefix, monkeypatch, key, secret, words
):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", secret)
    store = bucket(weed, prefix)
    asks = every_ask(store)
    for name in ("put", "delete") if key == "READER" else asks:
        with pytest.raises(StoreRefused) as caught:
            asks[name]()
        assert words in caught.value.what
        assert caught.value.exit_code == 1
        assert caught.value.hint
        # obstore tells of its requests at length
        for told in (*traceback.format_exception(caught.value), caught.value.hint):
            assert secret not in told
    if key == "READER":
        assert names(store) == []
        with pytest.raises(NoSuchObject):
            store.get(NAME)


@pytest.mark.needs("weed")
def test_no_part_of_another_prefix_is_seen(weed, prefix):
    bucket(weed, f"{prefix}-and-more").put(NAME, b"of another")
    bucket(weed, f"{prefix}/m").put(NAME, b"of one within")
    store = bucket(weed, prefix)
    store.put("m/a", b"x")
    assert names(store, "m/a") == ["m/a"]
    with pytest.raises(ObjectExists):
        store.put("m/a", b"y")


@pytest.mark.needs("weed")
def test_time_is_that_of_the_server_however_wrong(proxy, store):
    head = b"HTTP/1.1 403 No\r\nDate: Sun, 01 Mar 2026 12:00:00 GMT\r\nContent-Length: 0\r\n\r\n"
    proxy.fault = lambda *_request: head
    assert store.clock() == datetime(2026, 3, 1, 12, tzinfo=timezone.utc)
    proxy.fault = lambda *_request: head.replace(b"Date", b"Other")
    with pytest.raises(StoreUnreachable, match="does not answer with a date"):
        store.clock()


def profile_files(directory):
    directory.mkdir()
    (directory / "config").write_text(
        "[default]\nregion = eu-1\n[profile far]\nregion=far-1\nendpoint_url = http://far\n"
        "[profile by-program]\ncredential_process = /bin/ask\n"
    )
    (directory / "credentials").write_text(
        "[default]\naws_access_key_id = D\naws_secret_access_key = DS\n"
        "[far]\naws_access_key_id = F\naws_secret_access_key = F%S\naws_session_token = FT\n"
    )


def test_the_files_of_aws_tools_are_read(tmp_path):
    profile_files(tmp_path / ".aws")
    home = {"HOME": str(tmp_path)}
    default = read_profile(None, home)
    assert (default.key, default.secret, default.region) == ("D", "DS", "eu-1")
    far = read_profile(None, {**home, "AWS_PROFILE": "far"})
    assert (far.key, far.secret, far.token) == ("F", "F%S", "FT")
    assert (far.region, far.endpoint) == ("far-1", "http://far")
    assert read_profile("far", home) == far
    assert read_profile(None, {"HOME": str(tmp_path / "none")}).key is None


def test_a_profile_that_is_missing_or_has_its_credentials_elsewhere_is_told(tmp_path):
    profile_files(tmp_path / ".aws")
    with pytest.raises(ConfigurationError, match="no profile 'other'") as caught:
        read_profile("other", {"HOME": str(tmp_path)})
    assert ".aws/credentials" in caught.value.hint
    with pytest.raises(ConfigurationError, match="by credential_process") as caught:
        read_profile("by-program", {"HOME": str(tmp_path)})
    assert "export-credentials" in caught.value.hint
    named = {"HOME": str(tmp_path), "AWS_PROFILE": "by-program"}
    with pytest.raises(ConfigurationError, match="by credential_process"):
        read_profile(None, named)
    assert read_profile(None, {**named, "AWS_ACCESS_KEY_ID": "exported"}).key is None
    (tmp_path / ".aws" / "credentials").write_text("a secret that stands alone\n")
    with pytest.raises(ConfigurationError, match="no INI file") as caught:
        read_profile(None, {"HOME": str(tmp_path)})
    assert "stands alone" not in str(caught.value)


def test_an_empty_key_in_the_environment_is_none(tmp_path, monkeypatch):
    secrets = tmp_path / "credentials"
    secrets.write_text("[default]\naws_access_key_id = mine\naws_secret_access_key = secret\n")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(secrets))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    for key, taken in (("", "mine"), ("stranger", None)):
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", key)
        assert bucket_at(f"s3://{BUCKET}/here")._of_s3().get("access_key_id") == taken


@pytest.mark.needs("weed")
def test_a_profile_of_the_url_goes_before_the_environment(weed, prefix, tmp_path, monkeypatch):
    (tmp_path / "credentials").write_text(
        f"[mine]\naws_access_key_id = {KEY}\naws_secret_access_key = {SECRET}\n"
    )
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "STRANGER")
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{weed}")
    store = store_at(f"s3://{BUCKET}/{prefix}?profile=mine", Files())
    before = store.clock()
    assert abs(store.put(NAME, b"x") - before) < timedelta(minutes=1)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("s3://KEY:secret@bucket/a", "no credential may stand"),
        ("s3:///a", "no name of a bucket"),
        ("s3://Bucket!/a", "no name of a bucket"),
        ("s3://bucket/a/../b", "a prefix has"),
        ("s3://bucket/a%0Ab", "a prefix has"),
        ("s3://bucket/a?key=secret", "unknown in such a URL: key"),
        ("s3://bucket/a?endpoint=http://u:secret@host", "an endpoint is"),
        ("gs://bucket/a?region=x", "unknown in such a URL: region"),
    ],
)
def test_a_url_that_means_no_bucket_is_refused_and_shows_no_secret(url, words):
    with pytest.raises(ConfigurationError) as caught:
        store_at(url, Files())
    assert words in caught.value.what
    assert "secret" not in str(caught.value)
    assert "s3://BUCKET" in caught.value.hint


def test_without_the_library_it_says_what_to_install(monkeypatch):
    monkeypatch.setattr(bucketplace, "find_spec", lambda _name: None)
    with pytest.raises(ConfigurationError) as caught:
        store_at("s3://bucket/a", Files()).get(NAME)
    assert "obstore" in caught.value.what
    assert "[s3]" in caught.value.hint
