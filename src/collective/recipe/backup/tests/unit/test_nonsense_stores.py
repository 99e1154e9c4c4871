"""Something else answers in the place of a store: a sentence, and the directory has its backup."""

from __future__ import annotations

import json

import pytest

from collective.recipe.backup.errors import DONE, StoreRefused, StoreUnreachable
from collective.recipe.backup.files import Files
from collective.recipe.backup.sitebackup import main
from collective.recipe.backup.stores.allowance import Allowance
from collective.recipe.backup.stores.buckets import bucketstore
from collective.recipe.backup.stores.opening import store_at
from collective.recipe.backup.stores.tahoe import tahoenode
from collective.recipe.backup.tests.samples import Site
from collective.recipe.backup.tests.servers import SECRET, answer, proxied

CAPABILITY = "q2ibisfewpngq6efxs62vqpela"
LAST = b"Last-Modified: Sun, 1 Mar 2026 00:00:00 GMT\r\n"


def said(body: bytes, status: bytes = b"200 OK", more: bytes = b"", size: int = 0) -> bytes:
    head = b'HTTP/1.1 %s\r\nETag: "x"\r\n%s%s' % (status, LAST, more)
    return head + b"Content-Length: %d\r\nConnection: close\r\n\r\n%s" % (size or len(body), body)


NONSENSE = {
    "a page": said(b"<html>Log in</html>", more=b"Content-Type: text/html\r\n"),
    "a page that says nothing of itself": said(b"<html>Log in</html>"),
    "nothing": said(b""),
    "less than it says": said(b"{", size=1000),
    "a way to elsewhere": said(b"", b"302 Found", b"Location: http://127.0.0.1:9/elsewhere\r\n"),
    "another protocol": b"SSH-2.0-OpenSSH_9.2p1\r\n",
    "bytes": bytes(range(256)) * 8,
    "an end without a word": b"",
    "an answer without an end": "endless",
    "an error of its own": said(b"<h1>Oops</h1>", b"500 Oops"),
    "a refusal": answer(403, "AccessDenied"),
}


@pytest.fixture
def project(tmp_path, monkeypatch, command, s3_credentials):
    site = Site(tmp_path / "plone")
    site.commit({"page": 1}, {"file": b"data" * 1000})
    monkeypatch.chdir(site.directory)
    monkeypatch.setenv("SITEBACKUP_PASSPHRASE", "correct horse battery")
    return site


def url_of(kind: str, port: int) -> str:
    at = f"http://127.0.0.1:{port}"
    if kind == "tahoe":
        return f"tahoe:URI:DIR2:{CAPABILITY}:{'s' * 52}?node={at}&writer=us"
    return f"s3://bucket/a?endpoint={at}"


# the library for buckets takes whatever a listing has, so it is not asked for one without an end
@pytest.mark.parametrize(
    ("kind", "nonsense"),
    [
        (kind, nonsense)
        for kind in ("s3", "tahoe")
        for nonsense in NONSENSE
        if (kind, nonsense) != ("s3", "an answer without an end")
    ],
)
def test_what_answers_nonsense_is_told_in_a_sentence_and_the_directory_has_its_backup(
    project, kind, nonsense, capfd, caplog
):
    with proxied(0) as proxy:
        proxy.fault = lambda *_request: NONSENSE[nonsense]
        where = {"datafs": "var/filestorage/Data.fs", "blob_storage": "var/blobstorage"}
        settings = {**where, "repository": url_of(kind, proxy.port), "site_name": "plone"}
        lines = [f"{name} = {json.dumps(value)}" for name, value in settings.items()]
        (project.directory / "sitebackup.toml").write_text("\n".join(lines) + "\n")
        for verb in (["repository", "init"], ["backup"]):
            assert main(verb) in {StoreUnreachable.exit_code, StoreRefused.exit_code}
            told = "".join(capfd.readouterr())
            assert "ERROR: hint: " in told
            assert "Traceback" not in told
            assert "bug" not in told
            assert not [each for each in (SECRET, CAPABILITY) if each in told + caplog.text]
    assert main(["verify", "-q", "--from", "directory"]) == DONE
    assert main(["list", "--from", "directory", "--json"]) == DONE
    [storage] = json.loads(capfd.readouterr().out)["storages"]
    assert len(storage["restore_points"]) == 1


def test_no_more_is_read_of_an_object_than_one_has(s3_credentials, monkeypatch):
    monkeypatch.setattr(bucketstore, "_MOST", 1 << 20)
    with proxied(0) as proxy:
        store = store_at(url_of("s3", proxy.port), Files())
        proxy.fault = lambda *_request: "endless"
        with pytest.raises(StoreUnreachable, match="something else answers"):
            store.get("m/a")
        longer = b"Content-Range: bytes 0-9/100\r\n"
        proxy.fault = lambda *_request: said(bytes(100), b"206 Partial Content", longer)
        with pytest.raises(StoreUnreachable):
            store.get("m/a", 0, 10)


@pytest.mark.parametrize("bandwidth", [0, 10_000_000])
def test_an_answer_of_a_node_that_breaks_off_is_no_answer(impatient, bandwidth):
    hasty = tahoenode.TahoePatience(connect=3, silent=10, whole=60, pauses=())
    with proxied(0) as proxy:
        place = url_of("tahoe", proxy.port)
        store = store_at(place, Files(), Allowance(bandwidth=bandwidth))
        store._node._patience = hasty
        writer = ["dirnode", {"ro_uri": "URI:DIR2-RO:x:y", "mutable": True}]
        root = ["dirnode", {"ro_uri": "URI:DIR2-RO:a:b", "children": {"writer-us": writer}}]
        listed = said(json.dumps(root).encode())
        whole = said(b"0123456789")
        proxy.fault = lambda _method, path, _number: listed if "t=json" in path else whole
        assert store.get("m/a") == b"0123456789"
        cut = said(b"01234", size=10)
        proxy.fault = lambda _method, path, _number: listed if "t=json" in path else cut
        with pytest.raises(StoreUnreachable, match="no node of Tahoe-LAFS answers"):
            store.get("m/a")
