"""``backup-browse``: pages about the backups, for one user of this machine."""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import timedelta
from html import unescape
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import quote, unquote, urljoin, urlsplit

import pytest
import ZODB
from ZODB.blob import Blob
from ZODB.DemoStorage import DemoStorage

from collective.recipe.backup.browsing import logpage, objectspage, timelinepage
from collective.recipe.backup.browsing.downloads import Download, sent
from collective.recipe.backup.browsing.pageserver import PageServer, serving
from collective.recipe.backup.cli import main
from collective.recipe.backup.tests.browser import browsing
from collective.recipe.backup.tests.repositoryruns import OperatedInRepository
from collective.recipe.backup.tests.runs import Operated
from collective.recipe.backup.tests.samples import Site
from collective.recipe.backup.tests.unit.test_deleted import by, minutes
from collective.recipe.backup.tests.unit.test_objects import filled
from collective.recipe.backup.tests.unit.test_report_looks import CONTRASTS, OVERFLOWING

HOSTILE = "<script>alert('x')</script>\u202e&\x1b[31m"


@contextmanager
def answering(operated: Operated, directory: Path) -> Iterator[Pages]:
    """Serve the pages of *operated*; downloads pass *directory*."""
    directory.mkdir(exist_ok=True)
    with serving(operated.run("browse"), "Plone", ("127.0.0.1", 0), directory) as server:
        ended = threading.Event()

        def loop() -> None:
            while not ended.is_set():
                server._server.asyncore.loop(timeout=0.02, map=server._server._map, count=1)

        thread = threading.Thread(target=loop)
        thread.start()
        try:
            yield Pages(server)
        finally:
            ended.set()
            thread.join()


class Pages:
    """The pages of a server, as a client asks for them."""

    def __init__(self, server: PageServer) -> None:
        self.url = server.url
        self.host = urlsplit(server.url).netloc

    def ask(
        self, url: str = "", *, method: str = "GET", host: str | None = None
    ) -> tuple[int, dict[str, str], bytes]:
        """Return status, headers and body of what is at *url*, relative to the first page."""
        parts = urlsplit(urljoin(self.url, url))
        connection = HTTPConnection(self.host, timeout=60)
        try:
            target = f"{parts.path}?{parts.query}" if parts.query else parts.path
            connection.request(method, target, headers={"Host": host or self.host})
            answer = connection.getresponse()
            return answer.status, dict(answer.getheaders()), answer.read()
        finally:
            connection.close()

    def page(self, url: str = "") -> str:
        """Return a page that is there, its links readable."""
        status, headers, body = self.ask(url)
        assert (status, headers["Content-Type"]) == (200, "text/html; charset=utf-8"), body
        return body.decode("ascii")

    def links(self, url: str = "") -> list[str]:
        """Return the URLs that a page links to, relative to the first one."""
        return [unescape(each) for each in re.findall(r'<a href="([^"]*)"', self.page(url))]


def text_of(page: str) -> str:
    """Return what a reader sees of a page."""
    return " ".join(unescape(re.sub("<[^>]*>", " ", page.partition("<body>")[2])).split())


@pytest.fixture(params=[Operated, OperatedInRepository])
def operated(site: Site, request: pytest.FixtureRequest) -> Operated:
    """Return a site of which a page was deleted, and which was backed up before and after."""
    filled(site)
    made: Callable[[Site], Operated] = request.param
    operated = made(site)
    operated.backup()
    with by(site, "jane", minutes(1)) as app:
        del app.Plone._tree["news"]._tree["page-001"]
    operated.now += timedelta(hours=1)
    operated.backup()
    return operated


@pytest.fixture
def pages(operated: Operated, tmp_path: Path) -> Iterator[Pages]:
    with answering(operated, tmp_path / "downloads") as pages:
        yield pages


def test_the_first_page_has_all_restore_points_and_leads_to_their_objects(operated, pages):
    text = text_of(pages.page())
    assert "2 restore points" in text
    objects = [each for each in pages.links() if each.startswith("objects?")]
    assert [each.partition("at=")[2] for each in objects] == [
        point.stamp for point in reversed(operated.points())
    ]
    assert "admin" in text_of(pages.page(objects[0]))


def test_a_user_walks_from_a_transaction_to_what_was_there_before_it_and_takes_it_away(
    pages, tmp_path, site
):
    log = pages.page("log?user=jane")
    assert "jane" in log and "admin" not in text_of(log)
    [before] = [each for each in pages.links("log?user=jane") if "before=" in each]
    moment = before.partition("?")[2]
    folder = pages.page(f"objects?{moment}&path=/Plone/news")
    assert "<h1>Objects before transaction" in folder
    assert "page-001" in folder
    assert "page-001" not in pages.page("objects?path=/Plone/news")
    [export] = [
        each
        for each in pages.links(f"objects?{moment}&path=/Plone/news")
        if each.startswith("export") and "page-001" in each
    ]
    status, headers, body = pages.ask(export)
    assert status == 200
    assert headers["Content-Disposition"] == (
        "attachment; filename=page-001.zexp; filename*=UTF-8''page-001.zexp"
    )
    assert headers["Content-Type"] == "application/octet-stream"
    target = tmp_path / "page.zexp"
    target.write_bytes(body)
    with closing(ZODB.DB(DemoStorage())) as db, db.transaction() as connection:
        assert connection.importFile(str(target)).annotations["notes"] == ["a note"]


def test_a_blob_is_a_file_that_no_browser_takes_for_a_page(pages, tmp_path):
    where = "objects?path=/Plone/news/page-000"
    [blob] = [each for each in pages.links(where) if each.startswith("blob")]
    status, headers, body = pages.ask(blob)
    assert (status, body, headers["Content-Length"]) == (200, b"text", "4")
    assert headers["Content-Disposition"].startswith("attachment; filename=")
    assert headers["Content-Type"] == "application/octet-stream"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert list((tmp_path / "downloads").iterdir()) == []


def test_what_is_gone_is_told_with_who_did_it(operated, pages):
    first = operated.points()[0].stamp
    text = text_of(pages.page(f"deleted?at={first}&until=live"))
    assert "/Plone/news/page-001" in text
    assert "jane" in text
    assert "Nothing is gone." in text_of(pages.page(f"deleted?at={operated.points()[-1].stamp}"))


@pytest.mark.parametrize(("since", "which"), [(1, 0), (24, 0), (26, 1)])
def test_what_is_gone_proposes_the_newest_restore_point_that_is_a_day_old(
    operated, pages, monkeypatch, since, which
):
    points = operated.points()
    now = points[0].moment + timedelta(hours=since)
    monkeypatch.setattr("collective.recipe.backup.browsing.application.times.utcnow", lambda: now)
    page = pages.page("deleted")
    assert re.findall(r'name="at" value="([^"]*)"', page) == [points[which].stamp]


def test_the_history_of_an_object_names_each_change_and_leads_to_both_sides(pages):
    [history] = [
        each for each in pages.links("objects?path=/Plone/news") if each.startswith("history")
    ][:1]
    text = text_of(pages.page(history))
    assert "admin" in text
    links = pages.links(history)
    assert any("before=" in each and "path=" in each for each in links)
    for each in links:
        if each.startswith("objects?at="):
            assert "oid" in text_of(pages.page(each))


def test_every_link_of_every_page_leads_to_an_answer(pages):
    seen, left = set(), [""]
    while left and len(seen) < 60:
        url = left.pop(0)
        if url in seen:
            continue
        seen.add(url)
        status, headers, _body = pages.ask(url)
        is_page = headers["Content-Type"] == "text/html; charset=utf-8"
        # before the first transaction there is nothing to look at
        assert status == 200 or ("before=" in url and status == 503 and is_page), url
        if status == 200 and headers["Content-Type"].startswith("text/html"):
            left += pages.links(url)
    assert len(seen) > 20


@pytest.mark.parametrize("view", ["log", "objects?path=/Plone/many", ""])
def test_long_lists_come_in_pages_that_lead_to_each_other(operated, pages, monkeypatch, view):
    for module in (logpage, objectspage, timelinepage):
        monkeypatch.setattr(module, "ROWS", 1 if view == "" else 2)
    seen: list[str] = []
    url, words = view, {"": "Earlier", "log": "Earlier"}.get(view, "More")
    while url is not None and len(seen) < 300:
        page = pages.page(url)
        seen += re.findall(r"<tr><td[^>]*>(.*?)</td>", page)
        found = re.search(rf'<a href="([^"]*)">{words}</a>', page)
        url = unescape(found[1]) if found else None
    assert len(seen) == {"": 2, "log": len(set(operated.site.tids()))}.get(view, 200)


def test_of_what_holds_much_nothing_is_counted_unless_it_is_asked_for(pages, monkeypatch):
    monkeypatch.setattr(objectspage, "COUNTED", 10)
    quick = text_of(pages.page("objects?path=/Plone"))
    assert "It holds more than 10 objects." in quick
    assert "news" in quick and "204 objects" not in quick
    [count] = [each for each in pages.links("objects?path=/Plone") if "count=" in each]
    counted = text_of(pages.page(count))
    assert re.search(r"2\d\d objects with .* and 2 blobs \(\d+ B\)", counted)


@pytest.mark.parametrize(
    "url",
    [
        "objects?path=/Plone/nothing",
        "objects?at=nonsense",
        "objects?at=1990-01-01-00-00-00",
        "objects?before=nonsense",
        "objects?storage=none",
        "blob?path=/Plone/news&blob=00",
        "log?since=nonsense",
        "export?path=/../../etc/passwd",
        "export?path=/",
    ],
)
def test_what_is_not_there_is_a_page_that_says_so(pages, url):
    status, headers, body = pages.ask(url)
    assert status in (404, 503)
    assert headers["Content-Type"] == "text/html; charset=utf-8"
    assert b"That cannot be shown" in body
    pages.page()  # and the next one is answered


def test_only_who_knows_the_token_and_asks_for_this_address_is_answered(pages):
    assert pages.ask()[0] == 200
    assert pages.ask(host="evil.example")[0] == 403
    assert pages.ask(host=f"evil.example:{pages.host.rpartition(':')[2]}")[0] == 403
    for path in ("/", "/wrong/", "/wrong/objects", "/style.css", f"//{pages.host}/"):
        assert pages.ask(f"http://{pages.host}{path}")[0] == 404
    assert pages.ask(method="POST")[1]["Allow"] == "GET, HEAD"
    for method in ("POST", "PUT", "DELETE", "OPTIONS"):
        assert pages.ask(method=method)[0] == 405
    for url in ("nothing", "..%2f..%2fetc/passwd", "a" * 9000):
        assert pages.ask(url)[0] in (404, 414)


def test_no_answer_lets_a_browser_run_or_fetch_anything_or_tell_the_token(pages):
    for url in ("", "log", "objects", "deleted", "style.css", "nothing", "objects?at=nonsense"):
        _status, headers, body = pages.ask(url)
        policy = headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy and "script" not in policy
        assert headers["Referrer-Policy"] == "no-referrer"
        assert headers["Cache-Control"] == "no-store"
        assert b"<script" not in body and b"http" not in body.replace(b"http-equiv", b"")
        # in no page: what is saved or sent to somebody opens nothing
        assert pages.url.rstrip("/").rpartition("/")[2].encode() not in body


def test_what_a_stranger_wrote_is_text_in_every_page(site, tmp_path):
    filled(site)
    with site._at(minutes(1)) as db, db.transaction(note=HOSTILE) as connection:
        connection.transaction_manager.get().user = HOSTILE
        tree = connection.root()["Application"].Plone._tree
        tree[HOSTILE] = tree["news"]
        tree["\ud800 half"] = type(tree["many"])()
    operated = Operated(site)
    operated.now = minutes(2)
    operated.backup()
    with by(site, HOSTILE, minutes(3)) as app:
        del app.Plone._tree["many"]
    with answering(operated, tmp_path / "downloads") as pages:
        for url in ("log", "objects?path=/Plone", f"deleted?at={operated.points()[0].stamp}"):
            page = pages.page(url)
            assert "<script" not in page
            assert "&lt;script&gt;" in page
            assert "\x1b" not in page
            assert "&#8238;" not in page
        for each in pages.links("objects?path=/Plone"):
            assert pages.ask(each)[0] == 200, each


NONSENSE = (
    ("9" * 400 + " hours ago", "-1", "0", "٣", "1e9", "yesterday 99:99", "0001-01-01", "9999-12-31")
    + ("9999-12-31T23:59:59-23:59", "ffffffffffffffff", "0" * 16, "\0", "\ud800", "\r\nX: y", "%00")
    + ("/" * 4000, "../" * 1000, "now", "live", "'\"<>", "\u202e", "0x" + "f" * 16, "f" * 17)
)


def test_no_argument_of_a_url_gives_anything_but_an_answer(pages):
    """None ends in an error of ours, and none gets a header of its own."""
    views = {
        "objects": ("at", "before", "path", "from", "count", "storage"),
        "log": ("since", "until", "path", "user", "grep", "older", "storage"),
        "deleted": ("at", "until", "path", "from"),
        "history": ("at", "path"),
        "export": ("path", "at"),
        "blob": ("path", "blob"),
        "": ("from",),
    }
    for view, names in views.items():
        for name in names:
            for words in NONSENSE if name in ("at", "path") else NONSENSE[::4]:
                url = f"{view}?{name}={quote(words, errors='surrogatepass')}"
                status, headers, _body = pages.ask(url)
                assert status in (200, 302, 404, 414, 503), url
                assert "X" not in headers and "Content-Security-Policy" in headers


def test_requests_that_are_no_pages_are_refused_before_they_cost_anything(pages):
    """A body is not even kept, and no address is made of what was asked for."""
    token = pages.url.rstrip("/").rpartition("/")[2]
    for path in (f"/{token}", f"//{token}", f"///{token}"):
        status, headers, _body = pages.ask(f"http://{pages.host}{path}")
        assert (status, headers.get("Location")) in ((302, f"/{token}/"), (404, None))
    host, port = pages.host.split(":")
    head = f"Host: {pages.host}\r\n"
    for request, answer in (
        (f"POST /{token}/ HTTP/1.1\r\n{head}Content-Length: 900000000\r\n\r\n", b"413"),
        (f"GET /{token}/ HTTP/1.1\r\n{head}X: {'x' * 40_000}\r\n\r\n", b"431"),
        (f"GET http://evil.example/{token}/ HTTP/1.1\r\nHost: evil.example\r\n\r\n", b"403"),
        (f"GET /{token}/ HTTP/1.1\r\n\r\n", b"403"),
        (f"GET /{token}/ HTTP/1.1\r\n{head}X-Forwarded-Host: evil\r\n\r\n", b"200"),
        ("\0\0\0\0\r\n\r\n", b"400"),
    ):
        with socket.create_connection((host, int(port)), timeout=60) as client:
            client.sendall(request.encode())
            assert client.recv(100).split()[1] == answer, request[:60]
    assert pages.ask()[0] == 200


LONG = 300_000


def test_long_texts_of_strangers_make_no_long_pages(site, tmp_path):
    """Names of any length are cut, and what they name is reached by its oid."""
    filled(site)
    with site._at(minutes(1)) as db, db.transaction(note="n" * 60_000) as connection:
        connection.transaction_manager.get().user = "u" * 60_000
        tree = connection.root()["Application"].Plone._tree
        for letter in "ab":
            tree[letter * LONG] = folder = type(tree["many"])()
            folder.filename = folder.contentType = letter * LONG
            folder.file = Blob(b"content")
    operated = Operated(site)
    operated.now = minutes(2)
    operated.backup()
    first = operated.points()[0].stamp
    with by(site, "x" * 60_000, minutes(3)) as app:
        for letter in "ab":
            del app.Plone._tree[letter * LONG]
    with answering(operated, tmp_path / "downloads") as pages:
        for url in ("log", "objects?path=/Plone", f"deleted?at={first}"):
            assert len(pages.page(url)) < 200_000
            for each in pages.links(url):
                status, headers, body = pages.ask(each)
                assert status in (200, 503), each[:100]  # before the first transaction is nothing
                assert len(body) < 200_000 or "export" in each
                assert all(len(value) < 2000 for value in headers.values())


def test_a_moment_that_is_pruned_while_it_is_open_ends_with_a_sentence(operated, pages):
    first = operated.points()[0].stamp
    assert pages.ask(f"objects?at={first}")[0] == 200
    for path in operated.config.destinations["standard"][0].filestorage.glob("*"):
        path.unlink()
    for url in (f"objects?at={first}&path=/Plone/news", f"export?at={first}&path=/Plone/news"):
        status, headers, body = pages.ask(url)
        told = headers["Content-Type"].startswith("text/html") and b"That cannot be shown" in body
        # what is open may be read to its end
        assert (status == 200) is not told
    assert pages.ask("style.css")[0] == 200


def test_a_moment_that_is_relative_becomes_an_exact_one_and_stays_that(pages):
    status, headers, _body = pages.ask("objects?at=2+hours+ago&path=/Plone")
    assert status == 302
    assert re.fullmatch(r"objects\?at=\d{4}(-\d\d){5}&path=%2FPlone", headers["Location"])
    assert pages.ask(headers["Location"])[0] in (200, 503)
    assert pages.ask("objects?at=2026-03-01")[1]["Location"] == "objects?at=2026-03-01-00-00-00"


@pytest.mark.parametrize(
    "name", ["漢字.pdf", "bäd.txt", "a;filename*=UTF-8''evil.exe é.txt", 'q"uote.txt', "\ud800.png"]
)
def test_a_download_keeps_its_name_whatever_that_is(tmp_path, name):
    path = tmp_path / "content"
    path.write_bytes(b"content")
    with closing(sent(Download(name, path.open("rb"), 7))) as response:
        header = response.headers["Content-Disposition"]
    assert header.isascii()
    assert header.count("filename*=") == 1
    encoded = header.partition("filename*=UTF-8''")[2]
    assert unquote(encoded) == name.replace("\ud800", "_")


def test_an_argument_of_a_url_may_have_any_name(pages):
    for name in ("view", "self", "from", "at at", "/"):
        assert pages.ask(f"?{quote(name)}=x")[0] == 200
        assert pages.ask(f"objects?{quote(name)}=x")[0] == 200


def test_the_command_prints_an_address_and_ends_at_an_interrupt(site, capsys, monkeypatch):
    operated = Operated(site)
    asked: list[bytes] = []

    def loop(server: PageServer) -> None:
        asked.append(server.url.encode())

    monkeypatch.setattr(PageServer, "loop", loop)
    for address in ("0", "localhost:0"):
        assert main("browse", "standard", operated.config_path, ["--address", address]) == 0
        out, err = capsys.readouterr()
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+/[\w-]{22}/", out.strip())
        assert asked.pop() == out.strip().encode()
        assert "closed: nothing was restored" in err


@pytest.mark.parametrize("address", ["0.0.0.0:0", "example.org:80", "/tmp/socket", "x"])  # noqa: S104, S108
def test_an_address_that_others_can_reach_is_refused(site, address, capsys):
    operated = Operated(site)
    assert main("browse", "standard", operated.config_path, ["--address", address]) == 2
    assert "hint" in capsys.readouterr().err


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with browsing(tmp_path_factory.mktemp("profile")) as browser:
        yield browser


@pytest.mark.needs("chromium")
@pytest.mark.needs("chromedriver")
class TestInABrowser:
    """As people see the pages: on a desk and on a phone, by day and night."""

    @pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
    @pytest.mark.parametrize("width", [1400, 360])
    def test_the_pages_can_be_read_everywhere_and_fetch_nothing_else(
        self, browser, site, tmp_path, width, dark
    ):
        filled(site)
        operated = Operated(site)
        operated.backup()
        with by(site, HOSTILE, minutes(1)) as app:
            del app.Plone._tree["news"]._tree["page-001"]
        operated.now += timedelta(hours=1)
        operated.backup()
        first = operated.points()[0].stamp
        with answering(operated, tmp_path / "downloads") as pages:
            for url in (
                *("", "log", "objects?path=/Plone/news", "objects?path=/Plone/news/page-000"),
                *(f"deleted?at={first}", "objects?at=nonsense"),
            ):
                browser.visit(urljoin(pages.url, url), width=width, dark=dark)
                shade = browser.run("return getComputedStyle(document.body).backgroundColor")
                assert (sum(map(int, shade[4:-1].split(","))) < 300) is dark
                assert browser.run(OVERFLOWING) == []
                low = [each for each in browser.run(CONTRASTS) if each[0] < 4.5]
                assert low == []
                assert browser.run("return document.documentElement.scrollWidth <= innerWidth")
                fetched = browser.run(
                    "return performance.getEntriesByType('resource').map(each => each.name)"
                )
                assert all(each.startswith(pages.url) for each in fetched)
                assert [each for each in browser.log() if "favicon" not in each] == [] or (
                    "nonsense" in url
                )
