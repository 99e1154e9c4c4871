"""What of the URL of a store may be shown: nothing that lets others in."""

from __future__ import annotations

from urllib.parse import quote

import pytest

from collective.recipe.backup.errors import ConfigurationError
from collective.recipe.backup.stores.tahoe.tahoeanswers import NodeAnswer
from collective.recipe.backup.stores.tahoe.tahoeplace import tahoe_at
from collective.recipe.backup.storeurls import has_capability, shown_url, without_capabilities

SECRET = "abcdefghijklmnopqrstuvwxyz"
CAPABILITY = f"URI:DIR2:{SECRET}:{SECRET}{SECRET}"

SPELLINGS = {
    "plain": CAPABILITY,
    "quoted": quote(CAPABILITY, safe=""),
    "quoted twice": quote(quote(CAPABILITY, safe=""), safe=""),
    "small digits": CAPABILITY.replace(":", "%3a"),
    "one letter quoted": CAPABILITY.replace("URI", "%55RI"),
    "a letter of the secret quoted": CAPABILITY.replace("cdef", "%63def"),
    "small letters": CAPABILITY.lower(),
}


@pytest.mark.parametrize("spelled", SPELLINGS.values(), ids=SPELLINGS)
def test_a_capability_is_hidden_however_it_is_spelled(spelled):
    url = f"tahoe:{spelled}/site?node=http://127.0.0.1:3456"
    assert has_capability(url)
    for shown in (shown_url(url), without_capabilities(f"no such thing: {spelled}, sorry")):
        assert SECRET[5:] not in shown
        assert "(capability " in shown


def test_one_capability_has_one_digest_however_it_is_spelled():
    shown = {without_capabilities(spelled) for name, spelled in SPELLINGS.items() if "s" in name}
    kept = {without_capabilities(SPELLINGS[name]) for name in ("plain", "quoted", "quoted twice")}
    assert len(kept) == 1 and kept <= shown


def test_what_a_node_echoes_shows_no_capability():
    for spelled in SPELLINGS.values():
        answer = NodeAnswer(400, "", f"<p>no resource /uri/{spelled}?t=json</p>".encode())
        assert SECRET[5:] not in answer.text


@pytest.mark.parametrize("spelled", SPELLINGS.values(), ids=SPELLINGS)
def test_a_place_in_a_grid_is_called_by_no_capability(spelled):
    try:
        shown = tahoe_at(f"tahoe:{spelled}").location
    except ConfigurationError as error:
        shown = f"{error} {error.where} {error.hint}"
    assert SECRET[5:] not in shown


@pytest.mark.parametrize("password", ["secret", "se?cret", "se/cret", "s@cret", "s:e?c/r@et"])
def test_a_password_is_hidden_whatever_is_in_it(password):
    shown = shown_url(f"sftp://jane:{password}@host.example/backups")
    assert shown == "sftp://...@host.example/backups"


@pytest.mark.parametrize(
    "url",
    [
        "sftp://host.example:22/home/jane@work/backups",
        "s3://bucket/prefix?endpoint=http://127.0.0.1:8333",
        "file:///mnt/jane/backups",
        "/mnt/jane@work/backups",
    ],
)
def test_what_is_no_secret_is_shown(url):
    assert shown_url(url) == url
