"""The reader of zope.conf takes any text, and what ZConfig can read it reads as ZConfig does."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
import ZConfig
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from collective.recipe.backup.errors import BackupError
from collective.recipe.backup.sitebackup.zconfig import Section, read
from collective.recipe.backup.tests.lengths import examples

WORDS = [
    "<",
    ">",
    "</",
    "/>",
    "%define",
    "%include",
    "$",
    "${",
    "}",
    "$a",
    "a",
    "b",
    " ",
    "\t",
    "#",
]
LINES = st.lists(st.sampled_from(WORDS), max_size=8).map("".join)
TEXTS = st.one_of(st.text(), st.lists(LINES, max_size=12).map("\n".join))
NAME = st.text("abcXYZ_", min_size=1, max_size=3)
VALUE = st.lists(st.sampled_from(["x", "/", " ", "$$", "$n", "${n}", "é"]), max_size=6).map("".join)
SCHEMA = """
<schema>
  <sectiontype name="s"><key name="+" attribute="keys"/></sectiontype>
  <multisection type="s" name="*" attribute="sections"/>
</schema>
"""


def section(path: Path, text: str) -> Section:
    path.write_text(text, encoding="utf-8", errors="surrogatepass")
    return read(path)


@settings(max_examples=examples(150), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=TEXTS)
def test_any_text_is_read_or_refused_in_words(tmp_path: Path, text: str) -> None:
    try:
        root = section(tmp_path / "any.conf", text)
    except BackupError:
        return
    for way in root.walk():
        assert way[0] is root


@settings(max_examples=examples(150), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(sections=st.lists(st.tuples(NAME, st.dictionaries(NAME.map(str.lower), VALUE)), max_size=4))
def test_sections_are_read_as_zconfig_reads_them(
    tmp_path: Path, sections: list[tuple[str, dict[str, str]]]
) -> None:
    lines = ["%define N value"]
    for name, values in sections:
        lines += [f"<s {name}>", *(f"  {key} {value}" for key, value in values.items()), "</s>"]
    text = "\n".join(lines) + "\n"
    schema = ZConfig.loadSchemaFile(io.StringIO(SCHEMA))
    try:
        theirs, _handlers = ZConfig.loadConfigFile(schema, io.StringIO(text))
    except ZConfig.ConfigurationError:
        return  # two sections of one name
    ours = section(tmp_path / "one.conf", text)
    assert [it.name for it in ours.sections] == [it.getSectionName() for it in theirs.sections]
    for mine, their in zip(ours.sections, theirs.sections, strict=True):
        for key, value in (their.keys or {}).items():
            assert mine.value(key) == value


def test_a_line_without_an_end_costs_no_time(tmp_path: Path) -> None:
    with pytest.raises(BackupError):
        section(tmp_path / "long.conf", "<a" + " " * 200_000 + "\n%include no.conf\n")
