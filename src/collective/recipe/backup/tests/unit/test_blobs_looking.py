"""Another process looks at a live tree, and nothing depends on it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from collective.recipe.backup import process
from collective.recipe.backup.blobs import looking
from collective.recipe.backup.blobs.layout import Kind
from collective.recipe.backup.blobs.looking import Seen, look, look_ahead
from collective.recipe.backup.tests.blobtrees import ODD_NAMES, blob_id, put


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "blob \udcff storage"
    for number in range(5):
        put(root, blob_id(number * 300, number + 1))
    for name in ODD_NAMES:
        (root / "odd").mkdir(exist_ok=True)
        (root / "odd" / name).write_bytes(b"odd")
    (root / "link").symlink_to("odd")
    return root


def test_each_file_comes_as_it_is_in_the_order_of_the_walk(root: Path) -> None:
    seen = list(look(root))
    assert Seen("odd", Kind.DIRECTORY, 0, 0, 0) in seen
    assert {each.kind for each in seen} >= {Kind.BLOB, Kind.FILE, Kind.LINK}
    for each in seen:
        if each.kind is not Kind.DIRECTORY:
            status = os.lstat(root / each.path)
            assert each[2:] == (status.st_size, status.st_mtime_ns, status.st_dev)


@pytest.mark.parametrize("batch", [1, 2, 500])
def test_another_process_sees_the_same(root: Path, monkeypatch, batch: int) -> None:
    monkeypatch.setattr(looking, "_BATCH", batch)
    assert list(look_ahead(root)) == list(look(root))


def test_a_tree_that_is_not_there_breaks_it_off(tmp_path: Path) -> None:
    with pytest.raises(process.NoAnswerError):
        list(look_ahead(tmp_path / "nowhere"))


def test_a_process_that_cannot_be_started_breaks_it_off(root: Path, monkeypatch) -> None:
    monkeypatch.setattr("sys.executable", "/nonexistent")
    with pytest.raises(process.NoAnswerError):
        list(look_ahead(root))


ANSWERS = {
    "dies": "os._exit(3)",
    "dies in the middle": "pickle.dump([('a', 'blob', 1, 2, 3)], answer); os._exit(3)",
    "is killed": "os.kill(os.getpid(), 9)",
    "says something else": "answer.write(b'hello, world')",
    "says something else first": "answer.write(b'note: '); pickle.dump([], answer)",
    "says what is nearly a pickle": "answer.write(b'cnowhere\\nnothing\\n.')",
    "answers with another thing": "pickle.dump('no list', answer)",
    "ends in the middle of a batch": "answer.write(pickle.dumps([('a', 'blob', 1, 2, 3)])[:-5])",
}


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
def test_an_answer_without_its_end_breaks_it_off(root: Path, monkeypatch, answer: str) -> None:
    script = f"import os, pickle, sys; answer = sys.stdout.buffer; {answer}; answer.flush()"
    monkeypatch.setattr(process, "_COMPUTE", script)
    with pytest.raises(process.NoAnswerError):
        list(look_ahead(root))
