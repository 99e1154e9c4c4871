"""Pickles are measured without being run, as exactly as pickletools does it."""

from __future__ import annotations

import io
import pickle
import pickletools
import zlib

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from collective.recipe.backup.filestorage.pickles import decompressed, flaw_of
from collective.recipe.backup.objects.inert import UnreadableStateError
from collective.recipe.backup.objects.references import leading_down

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner) | st.tuples(inner, inner),
)
PROTOCOLS = st.integers(0, pickle.HIGHEST_PROTOCOL)


class Site:
    """What is pickled by reference and by state."""


def record(value: object, protocol: int = 3) -> bytes:
    return pickle.dumps((Site, None), protocol) + pickle.dumps(value, protocol)


@given(VALUES, PROTOCOLS)
def test_two_pickles_are_a_record(value, protocol):
    assert flaw_of(record(value, protocol)) == ""


@given(VALUES, PROTOCOLS)
def test_no_begin_of_a_record_is_one(value, protocol):
    data = record(value, protocol)
    for size in {0, 1, len(data) // 2, len(data) - 1}:
        assert flaw_of(data[:size])


@given(st.binary(max_size=60))
def test_what_pickletools_can_walk_is_none_the_worse(data):
    assume(flaw_of(data))
    with pytest.raises(Exception):  # noqa: B017  it raises what it likes
        walked(data)


@given(VALUES, PROTOCOLS, st.data())
def test_one_changed_byte_makes_nothing_of_what_pickletools_can_walk(value, protocol, data):
    damaged = bytearray(record(value, protocol))
    damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    assume(flaw_of(bytes(damaged)))
    with pytest.raises(Exception):  # noqa: B017  it raises what it likes
        walked(bytes(damaged))


def walked(data: bytes) -> None:
    """Walk two pickles the slow way, and nothing must follow."""
    stream = io.BytesIO(data)
    for _number in range(2):
        for _opcode in pickletools.genops(stream):
            pass
    assert stream.read() == b""


def test_each_instruction_is_known():
    for opcode in pickletools.opcodes:
        code = opcode.code.encode("latin-1")
        argument = {"c": b"a\nb\n", "i": b"a\nb\n"}.get(opcode.code)
        if argument is None and opcode.arg is not None:
            argument = b"\n" if opcode.arg.n == pickletools.UP_TO_NEWLINE else bytes(8)
            if opcode.arg.n >= 0:
                argument = bytes(opcode.arg.n)
            elif opcode.arg.n != pickletools.UP_TO_NEWLINE:
                argument = bytes({-2: 1, -3: 4, -4: 4, -5: 8}[opcode.arg.n])
        data = code + (argument or b"") + (b"" if code == b"." else b".")
        assert flaw_of(data + b".") == "", opcode.name


def test_what_a_wrapper_compressed_is_looked_into():
    data = record(["text"] * 100)
    assert flaw_of(b".z" + zlib.compress(data)) == ""
    assert "cannot be decompressed" in flaw_of(b".z" + bytes(20))
    assert "middle" in flaw_of(b".z" + zlib.compress(data)[:-6])
    assert flaw_of(b".z" + zlib.compress(data[:-1]))


def test_a_few_kilobytes_that_would_fill_the_memory_are_not_looked_into():
    bomb = b".z" + zlib.compress(b"N" * (40 << 20) + b".", 1)
    assert len(bomb) < 400_000
    assert flaw_of(bomb) == "", "nothing is known of it"
    with pytest.raises(UnreadableStateError, match="larger than 32 MB once it is decompressed"):
        leading_down(bomb)
    assert len(decompressed(bomb, 1 << 28)) == (40 << 20) + 1


def test_a_length_beyond_the_end_costs_no_memory():
    assert "cut short" in flaw_of(b"\x8e" + b"\xff" * 7 + b"\x7f" + b"..")
    assert "negative" in flaw_of(b"T\xff\xff\xff\xff..")


def test_bytes_after_a_pickle_are_a_flaw():
    assert "follows" in flaw_of(record(1) + b"x")
