"""Real scripts whose system calls fail: a few of all that ``make faults`` goes through."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest

from collective.recipe.backup.tests.faults.outside.strace import EIO, KILL, Done, Injection
from collective.recipe.backup.tests.faults.outside.verbs import VERBS, Trial, told

SAMPLE = 2
"""So many faults of each script."""

pytestmark = pytest.mark.needs("strace")


@pytest.mark.parametrize("name", VERBS)
def test_a_script_survives_what_its_system_calls_meet(tmp_path: Path, name: str) -> None:
    trial = Trial(VERBS[name], tmp_path / "trial")
    chosen = random.Random(name).sample(trial.injections(), SAMPLE)
    assert [said for said in map(trial.strike, chosen) if said] == []


@pytest.fixture
def killed() -> Injection:
    """A backup that is killed before the manifest, which makes it a restore point, has its name."""
    return Injection(
        call="fsync",
        path="var/backups/{stamp}.json.00000000.partial",
        when=1,
        fault=KILL,
        reads=False,
    )


def test_each_fault_meets_the_call_that_it_is_meant_for(tmp_path: Path, killed) -> None:
    trial = Trial(VERBS["incremental"], tmp_path / "trial")
    assert killed in trial.injections()
    assert trial.strike(killed) == ""
    assert trial.strike(replace(killed, fault=EIO)) == ""
    assert trial.strike(replace(killed, when=2)) is None


def test_what_no_run_heals_is_found(tmp_path: Path, killed) -> None:
    verb = replace(VERBS["incremental"], heals=lambda world: None)
    said = Trial(verb, tmp_path / "trial").strike(killed)
    assert said
    assert "the new restore point is not as it was: " in said


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (0, "INFO: done"),
        (1, "INFO: backing up {site}\nERROR: it failed"),
        (1, "INFO: backing up {site}"),
        (1, "ERROR: unexpected error: KeyError: {site}"),
        (1, "Traceback (most recent call last):\nERROR: {site}"),
    ],
)
def test_what_is_not_told_is_found(tmp_path: Path, killed, code: int, said: str) -> None:
    done = Done(code=code, said=said.format(site=tmp_path), trace="")
    with pytest.raises(AssertionError):
        told(done, replace(killed, fault=EIO), tmp_path)
