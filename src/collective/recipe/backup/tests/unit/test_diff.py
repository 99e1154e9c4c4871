"""What changed between two moments: counted by folders, and the fields of one object."""

from __future__ import annotations

import json

import pytest
from BTrees.OOBTree import OOBTree
from persistent.mapping import PersistentMapping

from collective.recipe.backup.cli import main
from collective.recipe.backup.objects.inert import state_of
from collective.recipe.backup.objects.statetext import LONGEST, field_texts, value_text
from collective.recipe.backup.tests.runs import NOON, Operated
from collective.recipe.backup.tests.samples import Site
from collective.recipe.backup.tests.unit.test_deleted import by, minutes
from collective.recipe.backup.tests.unit.test_objects import Folder, filled, record


def test_what_changed_is_counted_by_folders_with_who_did_it(
    site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    def told(*arguments: str, code: int = 0) -> str:
        assert main("diff", "standard", operated.config_path, arguments) == code
        found = capsys.readouterr()
        return found.err if code else found.out

    filled(site)
    operated = Operated(site)
    operated.backup()
    with by(site, "jane", minutes(1)) as app:
        del app.Plone._tree["news"]._tree["page-001"]
        app.Plone._tree["news"]._tree["page-000"].annotations["notes"].append("more")
    with by(site, "joe", minutes(2)) as app:
        app.Plone._tree["events"] = Folder(app.Plone)
        app.Plone._tree["events"]._tree["one"] = PersistentMapping()
    operated.now = minutes(60)
    operated.backup()
    document = json.loads(told(NOON.isoformat(), "/Plone", "--depth", "1", "--json"))
    assert {each.pop("path"): each for each in document["folders"]} == {
        # the trees of Plone and of news hold other things, and notes have one more
        "/Plone": {"added": 3, "changed": 3, "removed": 4, "users": ["jane", "joe"]},
        "/Plone/news": {"added": 0, "changed": 2, "removed": 4, "users": ["jane"]},
        "/Plone/events": {"added": 3, "changed": 0, "removed": 0, "users": ["joe"]},
    }
    first, last = (each.isoformat() for each in (NOON, minutes(90)))
    for words in ([first, last], [first, "live"], [first, "--until", last]):
        assert "joe" in told("--path", "/Plone/events", *words)
    said = told(first, first)
    assert "nothing has changed between 20" in said and "an earlier MOMENT" in said
    assert "exchange them" in told(last, first, code=2)
    notes = "/Plone/news/page-000/annotations/notes"
    assert told(first, last, notes, "--fields").endswith(
        "data:\n  - ['a note', ]\n  + ['a note', 'more', ]\n"
    )
    gone = json.loads(told(first, "/Plone/news/page-001", "--fields", "--json"))["fields"]
    assert {each["after"] for each in gone} == {None} and "file" in {each["name"] for each in gone}
    assert "at either moment" in told(first, "/Plone/nothing", "--fields", code=2)
    said = told("Plone/news", "--fields")
    assert "no field of /Plone/news differs between the newest restore point and the live" in said
    assert "a whole number, 0 or more, not '-1'" in told("/Plone", "--depth", "-1", code=2)
    assert "--depth is for folders" in told("/Plone", "--fields", "--depth", "1", code=2)


def test_a_state_is_told_as_text_and_ends_somewhere() -> None:
    endless: list[object] = []
    endless.append([endless, endless])
    found = field_texts(
        state_of(
            record({"tree": OOBTree, "data": {(1, "a"): {3, 1, 2}}, "n": 1 << 20_000, "e": endless})
        )
    )
    assert found["tree"] == "BTrees.OOBTree.OOBTree"
    assert found["[(1, 'a', )]"] == "{1, 2, 3, }"
    assert found["n"] == "a number of 20001 bits"
    assert len(found["e"]) <= LONGEST + 3
    assert value_text("\x1b") == "'\\x1b'"
