"""Whatever somebody has written is read, or refused in words: no parser ends otherwise."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from collective.recipe.backup.tests import foreign, foreignrepository, lengths
from collective.recipe.backup.tests.foreign import is_in_words

PARSERS = foreign.PARSERS | foreignrepository.PARSERS

STRANGE = [
    b"",
    b"\0" * 600,
    b"\xff" * 600,
    b"[" * 5000,
    b'{"a":' * 5000,
    b"9" * 5000,
    b"-1",
    b"1e999",
    b"\\ud800",
    b"\n" * 50,
]


class Written(dict[str, list[bytes]]):
    """What the product writes, by parser; too much to be shown with each failure."""

    def __repr__(self) -> str:
        return "Written()"


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Written:
    directory = tmp_path_factory.mktemp("examples")
    return Written(foreign.examples(directory) | foreignrepository.examples(directory))


def test_each_parser_has_examples_that_it_reads(written: Written) -> None:
    """Else what is made of them would be refused for what all of them have in common."""
    assert set(written) == set(PARSERS)
    for name, texts in written.items():
        assert texts, name
        for text in texts:
            with tempfile.TemporaryDirectory() as room:
                (Path(room) / "more.conf").write_text("# for zope.conf\n")
                PARSERS[name](text, Path(room))


class Edit:
    """One way of changing bytes, at a place that is a share of their length."""

    def __init__(self, kind: str, place: float, size: int, data: bytes) -> None:
        self.kind, self.place, self.size, self.data = kind, place, size, data

    def __repr__(self) -> str:
        return f"Edit({self.kind!r}, {self.place}, {self.size}, {self.data!r})"

    def of(self, data: bytes) -> bytes:
        at = int(self.place * len(data))
        before, here, after = data[:at], data[at : at + self.size], data[at + self.size :]
        match self.kind:
            case "flip":
                return before + bytes(byte ^ (self.size or 1) for byte in here[:1]) + data[at + 1 :]
            case "zeros":
                return before + bytes(len(here)) + after
            case "repeat":
                return before + here * 3 + after
            case "cut":
                return before + after
            case "end":
                return before
            case _:
                return before + self.data + data[at:]


EDITS = st.lists(
    st.builds(
        Edit,
        st.sampled_from(["flip", "zeros", "repeat", "cut", "end", "insert"]),
        st.floats(0, 1),
        st.integers(0, 200),
        st.one_of(st.binary(max_size=12), st.sampled_from(STRANGE)),
    ),
    max_size=4,
)


@pytest.mark.parametrize("name", sorted(PARSERS))
@settings(
    max_examples=lengths.examples(60),
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(number=st.integers(0, 9), edits=EDITS, other=st.none() | st.binary(max_size=300))
@example(number=0, edits=[], other=b"[" * 5000)
def test_what_is_read_is_read_or_refused_in_words(
    written: Written, name: str, number: int, edits: list[Edit], other: bytes | None
) -> None:
    data = written[name][number % len(written[name])] if other is None else other
    for edit in edits:
        data = edit.of(data)
    with tempfile.TemporaryDirectory() as room:
        (Path(room) / "more.conf").write_text("# for zope.conf\n")
        try:
            PARSERS[name](data, Path(room))
        except Exception as error:  # noqa: BLE001  the bug that is looked for may be any
            if not is_in_words(error):
                raise
