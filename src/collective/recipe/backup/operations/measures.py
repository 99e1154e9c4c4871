"""The metrics of each place, and the file that they are written to."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import chain

from collective.recipe.backup.config import Config
from collective.recipe.backup.metrics import Sample, render
from collective.recipe.backup.operations.passing import in_passing
from collective.recipe.backup.operations.run import Run
from collective.recipe.backup.operations.sitestatus import SiteStatus, StatusSeverity

_Value = tuple[str, dict[str, str], float]
"""A metric, the labels besides the part, and the value."""


def write(run: Run, found: Sequence[SiteStatus]) -> None:
    """Write metrics_file anew from the status of each place in *found*, if it is configured.

    A failure is only a warning.
    """
    path = run.config.options.metrics_file
    if path is not None:
        text = render(samples(run.config, found))
        with in_passing("cannot write the metrics"):
            run.files.publish(path, text.encode("utf-8"), 0o644)


def samples(config: Config, found: Sequence[SiteStatus]) -> dict[str, list[Sample]]:
    """Return the values of all metrics, by name, from the status of each place in *found*."""
    values: dict[str, list[Sample]] = defaultdict(list)
    for name, labels, value in chain(_of_the_site(found), *map(_of_place, found)):
        values[name].append(({"part": config.part, **labels}, value))
    return values


def _of_the_site(found: Sequence[SiteStatus]) -> Iterator[_Value]:
    yield "under_way", {}, any(status.under_way for status in found)


def _of_place(status: SiteStatus) -> Iterator[_Value]:
    yield from _of_runs(status)
    yield from _of_storages(status)
    yield from _of_the_rest(status)


def _of_runs(status: SiteStatus) -> Iterator[_Value]:
    for record in status.newest.values():
        run = {"verb": record.verb, "destination": record.destination}
        yield "run_started_timestamp_seconds", run, record.started.timestamp()
        yield "run_duration_seconds", run, record.seconds or 0
        yield "run_exit_code", run, record.exit_code or 0
        for phase, seconds in record.phases.items():
            yield "phase_duration_seconds", {**run, "phase": phase}, seconds
    for record in status.newest_good.values():
        run = {"verb": record.verb, "destination": record.destination}
        yield "run_success_timestamp_seconds", run, record.started.timestamp()


def _of_storages(status: SiteStatus) -> Iterator[_Value]:
    for storage in status.storages:
        label = {"destination": status.destination, "storage": storage.source.name}
        yield "restore_points", label, storage.count
        yield "restore_points_whole", label, storage.whole
        yield "stored_bytes", label, storage.stored
        if storage.newest is not None and storage.as_of is not None:
            yield "restore_point_timestamp_seconds", label, storage.as_of.timestamp()
            yield "filestorage_bytes", label, storage.newest.end


def _of_the_rest(status: SiteStatus) -> Iterator[_Value]:
    for room in status.rooms:
        yield "free_bytes", {"path": str(room.path)}, room.free
        yield "size_bytes", {"path": str(room.path)}, room.size
    for severity in (StatusSeverity.WARNING, StatusSeverity.CRITICAL):
        count = sum(finding.severity is severity for finding in status.findings)
        label = {"destination": status.destination, "severity": severity.name.lower()}
        yield "findings", label, count
