"""A test that cannot run must not look like one that passed."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow

NEEDY = """
import pytest

@pytest.mark.needs("no-such-program")
def test_with_a_program():
    pass

@pytest.mark.needs("sh")
def test_with_a_shell():
    pass
"""


@pytest.fixture
def outcome(tmp_path):
    (tmp_path / "test_needy.py").write_text(NEEDY)

    def run(must_run):
        command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-c", os.devnull]
        plugin = ["-p", "collective.recipe.backup.tests.conftest", "--rootdir", str(tmp_path)]
        return subprocess.run(
            [*command, *plugin, str(tmp_path)],
            env={
                **os.environ,
                "BACKUP_TESTS_MUST_RUN": must_run,
                "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
            },
            stdout=subprocess.PIPE,
            text=True,
            check=False,
        )

    return run


def test_a_missing_program_is_a_skip_that_nobody_overlooks(outcome):
    done = outcome(must_run="")
    assert done.returncode == 0
    assert "NOT TESTED: no-such-program is not installed" in done.stdout
    assert "1 passed, 1 skipped" in done.stdout


def test_a_missing_program_is_a_failure_where_it_must_be_there(outcome):
    done = outcome(must_run="sh,no-such-program")
    assert done.returncode == 1
    assert "no-such-program is not installed, and this test must run" in done.stdout
    assert "1 passed" in done.stdout
    assert "1 error" in done.stdout


CHANCE = """
from hypothesis import given, strategies as st
from collective.recipe.backup.tests.lengths import examples

@given(number=st.integers())
def test_looks_at_numbers(number):
    print("looked at", number)

def test_says_how_many():
    print("as many as", examples(7))
"""


@pytest.fixture
def looked_at(tmp_path):
    """Run a property test; return what it looked at, and what pytest said above it."""
    (tmp_path / "test_chance.py").write_text(CHANCE)

    def run(*arguments, times="0"):
        command = [sys.executable, "-m", "pytest", "-s", "-p", "no:cacheprovider"]
        plugin = ["-p", "collective.recipe.backup.tests.conftest", "--rootdir", str(tmp_path)]
        done = subprocess.run(
            [*command, *plugin, "-c", os.devnull, *arguments, str(tmp_path)],
            env={
                **os.environ,
                "BACKUP_TESTS_TIMES": times,
                "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
            },
            stdout=subprocess.PIPE,
            text=True,
            check=True,
            cwd=tmp_path,
        )
        lines = done.stdout.splitlines()
        return [line for line in lines if "looked at" in line], done.stdout

    return run


def test_property_tests_look_at_the_same_examples_each_time(looked_at):
    (first, said), (second, _said) = looked_at(), looked_at()
    assert first == second
    assert len(first) == 100
    assert "the same ones each time" in said
    assert "as many as 7\n" in said


def test_property_tests_at_length_look_at_more_and_at_others(looked_at):
    (first, said), (second, _said), (other, _other) = (
        looked_at(f"--hypothesis-seed={seed}", times="3") for seed in (1, 1, 2)
    )
    assert first == second != other
    assert len(first) == 300
    assert "3 times as many examples, at random, seed 1" in said
    assert "as many as 21\n" in said


def test_fuzzing_ends_with_the_round_that_fails_and_says_its_seed(tmp_path):
    (tmp_path / "test_law.py").write_text(
        "from hypothesis import given, strategies as st\n"
        "@given(number=st.integers())\n"
        "def test_law(number):\n"
        "    assert number < 1000\n"
        "def test_no_property():\n"
        "    assert False\n"
    )
    command = [sys.executable, "-m", "collective.recipe.backup.tests.fuzzing", "--jobs", "0"]
    done = subprocess.run(
        [*command, "--minutes", "5", "--times", "2", str(tmp_path)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert done.returncode == 1
    first, *_rest, last = done.stdout.splitlines()
    assert first.startswith("seed ")
    assert last == f"once more: --times 2 --{first}"
    assert "number=1000" in done.stdout
    assert "test_no_property" not in done.stdout
