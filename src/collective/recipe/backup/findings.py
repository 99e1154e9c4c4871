"""The findings of the doctor: a subject, a severity, what and where, and how to mend it."""

from __future__ import annotations

import enum
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from collective.recipe.backup.errors import BackupError, from_os_error
from collective.recipe.backup.frozen import dataclass


class DoctorSeverity(enum.Enum):
    """The severity of a finding: with a problem, a backup or a restore would fail."""

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"


@dataclass(frozen=True, kw_only=True)
class DoctorFinding:
    """The result of one check."""

    subject: str  # in a word or two
    severity: DoctorSeverity  # how bad it is
    what: str  # in words
    where: str = ""  # a path; "": it has no place
    hint: str = ""  # how to mend it; "": nothing needs to be
    denied: bool = False  # whether it is that this user may not look or write there

    def with_hint(self, hint: str) -> DoctorFinding:
        """Return this finding with another *hint*."""
        return replace(self, hint=hint)


class Report(list[DoctorFinding]):
    """The findings of one subject, in the making."""

    def __init__(self, subject: str) -> None:
        super().__init__()
        self._subject = subject

    def ok(self, what: str, where: str | os.PathLike[str] = "") -> None:
        """Find that something is as it should be."""
        self._add(DoctorSeverity.OK, what, where, "")

    def warning(self, what: str, where: str | os.PathLike[str] = "", hint: str = "") -> None:
        """Find something that may be meant, or may become a problem."""
        self._add(DoctorSeverity.WARNING, what, where, hint)

    def problem(self, what: str, where: str | os.PathLike[str] = "", hint: str = "") -> None:
        """Find something that a backup or a restore fails at."""
        self._add(DoctorSeverity.PROBLEM, what, where, hint)

    def error(self, error: BackupError, where: str | os.PathLike[str] = "") -> None:
        """Find what *error* says, which *where* is of if it has no place of its own."""
        self._add(DoctorSeverity.PROBLEM, error.what, error.where or where, error.hint)
        if _is_denied(error):
            self[-1] = replace(self[-1], denied=True)

    @contextmanager
    def looking(self, where: str | os.PathLike[str] = "") -> Iterator[None]:
        """Make a problem of an error that the body meets, and go on after it."""
        try:
            yield
        except BackupError as error:
            self.error(error, where)
        except OSError as error:
            found = from_os_error(error, "cannot look", where)
            found.__cause__ = error
            self.error(found, where)

    def _add(
        self, severity: DoctorSeverity, what: str, where: str | os.PathLike[str], hint: str
    ) -> None:
        self.append(
            DoctorFinding(
                subject=self._subject,
                severity=severity,
                what=what,
                where=os.fspath(where),
                hint=hint,
            )
        )


def _is_denied(error: BaseException | None) -> bool:
    """Tell whether *error* comes of a permission that this user lacks."""
    while error is not None:
        if isinstance(error, PermissionError):
            return True
        error = error.__cause__
    return False
