"""What the doctor finds: a subject, how bad it is, what and where, and how to mend it."""

from __future__ import annotations

import enum
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from collective.recipe.backup.errors import BackupError, from_os_error


class Severity(enum.Enum):
    """How bad a finding is: a problem is what a backup or a restore would fail at."""

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that was looked at, *subject* in a word or two."""

    subject: str
    severity: Severity
    what: str
    where: str = ""
    hint: str = ""


class Report(list[Finding]):
    """The findings of one subject, in the making."""

    def __init__(self, subject: str) -> None:
        super().__init__()
        self._subject = subject

    def ok(self, what: str, where: str | os.PathLike[str] = "") -> None:
        """Find that something is as it should be."""
        self._add(Severity.OK, what, where, "")

    def warning(self, what: str, where: str | os.PathLike[str] = "", hint: str = "") -> None:
        """Find something that may be meant, or may become a problem."""
        self._add(Severity.WARNING, what, where, hint)

    def problem(self, what: str, where: str | os.PathLike[str] = "", hint: str = "") -> None:
        """Find something that a backup or a restore fails at."""
        self._add(Severity.PROBLEM, what, where, hint)

    @contextmanager
    def looking(self, where: str | os.PathLike[str] = "") -> Iterator[None]:
        """Make a problem of an error that the body meets, and go on after it."""
        try:
            yield
        except BackupError as error:
            self.problem(error.what, error.where or where, error.hint)
        except OSError as error:
            found = from_os_error(error, "cannot look", where)
            self.problem(found.what, found.where, found.hint)

    def _add(self, severity: Severity, what: str, where: str | os.PathLike[str], hint: str) -> None:
        self.append(
            Finding(
                subject=self._subject,
                severity=severity,
                what=what,
                where=os.fspath(where),
                hint=hint,
            )
        )
