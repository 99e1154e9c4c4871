"""A test that cannot run must not look like one that passed."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

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
