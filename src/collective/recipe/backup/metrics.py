"""Metrics: the names that a watcher reads, and the text form in which Prometheus reads them.

The file that they come in is meant for the textfile collector of node_exporter.  METRICS is
the table of all that may be in it; docs/howto/monitor.rst is compared with it by a test.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

PREFIX = "zodb_backup_"


class Metric(NamedTuple):
    """One gauge."""

    name: str  # without PREFIX
    labels: tuple[str, ...]  # names of its labels
    says: str  # help text


Sample = tuple[Mapping[str, str], float]
"""The labels of one value, and the value."""

_RUN = ("part", "verb", "destination")
_STORAGE = ("part", "destination", "storage")

METRICS = (
    Metric("run_started_timestamp_seconds", _RUN, "When the newest run that has ended began."),
    Metric("run_duration_seconds", _RUN, "How long it took, hooks included."),
    Metric("run_exit_code", _RUN, "How it ended; 0 is well."),
    Metric("run_success_timestamp_seconds", _RUN, "When the newest run that went well began."),
    Metric("phase_duration_seconds", (*_RUN, "phase"), "How long each phase of it took."),
    Metric("under_way", ("part",), "Whether a run is at work, 1 or 0."),
    Metric("restore_points", _STORAGE, "How many restore points there are."),
    Metric("restore_points_whole", _STORAGE, "How many of them lack nothing."),
    Metric(
        "restore_point_timestamp_seconds",
        _STORAGE,
        "Up to when the newest whole restore point is known to be the state of the site.",
    ),
    Metric("filestorage_bytes", _STORAGE, "The size of the filestorage in it."),
    Metric("stored_bytes", _STORAGE, "What all restore points occupy, as far as it is known."),
    Metric("free_bytes", ("part", "path"), "The room left where the backups lie."),
    Metric("size_bytes", ("part", "path"), "All the room there."),
    Metric("findings", ("part", "destination", "severity"), "How much the status complains of."),
)


def render(samples: Mapping[str, Sequence[Sample]]) -> str:
    """Return the text of *samples*, by the names of METRICS."""
    return "".join(
        f"{line}\n" for metric in METRICS for line in _lines(metric, samples.get(metric.name, ()))
    )


def _lines(metric: Metric, samples: Sequence[Sample]) -> Iterator[str]:
    if not samples:
        return
    name = f"{PREFIX}{metric.name}"
    yield f"# HELP {name} {metric.says}"
    yield f"# TYPE {name} gauge"
    for labels, value in samples:
        shown = ",".join(f'{label}="{_escaped(labels[label])}"' for label in metric.labels)
        yield f"{name}{{{shown}}} {_number(value)}"


def _escaped(text: str) -> str:
    # a path may hold what is no text in any encoding
    text = text.encode("utf-8", "backslashreplace").decode("utf-8")
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else f"{value:.3f}"
