"""Facts for the report: a month of a busy site, with all that a page may have to show."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path

from collective.recipe.backup import history, retention
from collective.recipe.backup.history import HookRun, RunRecord
from collective.recipe.backup.model import MAIN, RestorePoint, Source
from collective.recipe.backup.report import PageFacts, Tale, Tile
from collective.recipe.backup.restorepoints import ranges
from collective.recipe.backup.times import stamp, tid_at

NOW = datetime(2026, 3, 29, 9, 30, tzinfo=timezone.utc)
HOSTILE = "\"'></script><script>alert(1)</script>&\u202e\x1b[31m\udcff\n{{7*7}}]]>"


def points(days: int = 28, *, chain: int = 7) -> list[RestorePoint]:
    """Return a restore point for each night, a full one every so many days."""
    found, begin = [], ""
    for day in range(days):
        moment = NOW.replace(hour=3, minute=0) - timedelta(days=days - 1 - day)
        if day % chain == 0:
            begin = stamp(moment)
        found.append(
            RestorePoint(
                stamp=stamp(moment),
                chain=begin,
                end=8_000_000_000 + 41_000_000 * day - (day // 14) * 900_000_000,
                tid=tid_at(moment - timedelta(minutes=5)),
                since=tid_at(moment - timedelta(days=day % chain, minutes=90)),
                taken=moment,
                blobs=f"blobstorage.{begin}",
                blob_bytes=21_000_000_000 + 160_000_000 * day,
                stored=4_100_000_000 if day % chain == 0 else 60_000_000,
                problems=("its blobs are missing: blobstorage.x",) if day == 11 else (),
                restorable=day != 11,
            )
        )
    return found


def records(days: int = 28) -> list[RunRecord]:
    """Return the runs of that time."""
    found = []
    for day in range(days):
        started = NOW.replace(hour=3, minute=0) - timedelta(days=days - 1 - day)
        run = RunRecord(
            verb="backup",
            destination="standard",
            started=started,
            process=4000 + day,
            host="plone",
            outcome=history.DONE,
            exit_code=0,
            seconds=80.0 + 3 * day,
            phases={"filestorage": 14.0 + 2 * (day % 5), "blobs": 55.0 + 3 * (day % 7)},
            points={MAIN: stamp(started)},
            numbers={"bytes": 60_000_000, "changed": 1},
            hooks=(
                HookRun(name="pre_command", exit_code=0, seconds=0.4, output="mounted /mnt/b\n"),
                HookRun(name="post_command", exit_code=0, seconds=1.2, output=""),
            ),
        )
        if day == 19:
            run = replace(
                run,
                outcome=history.FAILED,
                exit_code=1,
                error="cannot write the backup: No space left on device",
                phases={"filestorage": 16.0},
                hooks=(
                    run.hooks[0],
                    HookRun(
                        name="failure_command",
                        exit_code=32,
                        seconds=10.1,
                        output="umount: /mnt/b: target is busy.\n" * 3,
                    ),
                ),
            )
        found.append(run)
        if day % 7 == 6:
            found.append(
                replace(
                    run,
                    verb="verify" if day % 14 == 6 else "rehearse",
                    started=started + timedelta(hours=3),
                    seconds=341.0,
                    phases={},
                    numbers={"objects": 812_345, "blobs": 40_211, "problems": 0},
                    hooks=(),
                )
            )
    return found


def restored(like: RunRecord, point: str) -> RunRecord:
    """Return a run that restored a *point* some hours after the one it is *like*."""
    return replace(
        like,
        verb="restore",
        started=like.started + timedelta(hours=7, minutes=12),
        phases={"stage": 90.0, "swap": 0.2},
        points={MAIN: point},
        numbers={"elsewhere": 0},
        hooks=(),
    )


def eventful() -> PageFacts:
    """Return the facts of a month in which something happened."""
    return _facts(points(), records(), keep=retention.Policy(keep=3))


def empty() -> PageFacts:
    """Return the facts of a site that was never backed up."""
    found = _facts([], [], keep=retention.Policy())
    return replace(found, findings=[("critical", "there is no whole restore point")])


def young() -> PageFacts:
    """Return the facts of a site that is a day old, and was restored once."""
    first = NOW.replace(hour=3, minute=0) - timedelta(hours=18)
    moments = [first + timedelta(hours=hours) for hours in (0, 4, 9, 14, 18)]
    old = points(len(moments))
    found = [
        replace(
            point,
            stamp=stamp(moment),
            chain=stamp(first),
            tid=tid_at(moment - timedelta(minutes=5)),
            since=tid_at(first - timedelta(minutes=90)),
            taken=moment,
            blobs=f"blobstorage.{stamp(first)}",
        )
        for point, moment in zip(old, moments, strict=True)
    ]
    runs = [replace(run, started=moment) for run, moment in zip(records(5), moments, strict=True)]
    return _facts(found, runs, keep=retention.Policy())


def single() -> PageFacts:
    """Return the facts of a site that was backed up once, without any trouble."""
    found = _facts(points(1), records(1), keep=retention.Policy())
    return replace(found, restores=[], findings=[])


def thousand() -> PageFacts:
    """Return the facts of a site that was backed up each half hour for three weeks."""
    moments = [NOW - timedelta(minutes=30 * number) for number in range(1000, 0, -1)]
    found, chain = [], ""
    for number, (point, moment) in enumerate(zip(points(1000), moments, strict=True)):
        if number % 48 == 0:
            chain = stamp(moment)
        changed = replace(
            point,
            stamp=stamp(moment),
            chain=chain,
            end=8_000_000_000 + 900_000 * number,
            tid=tid_at(moment - timedelta(minutes=5)),
            since=tid_at(moment - timedelta(minutes=30 * (number % 48) + 10)),
            taken=moment,
            blobs=f"blobstorage.{chain}",
            blob_bytes=21_000_000_000 + 3_000_000 * number,
        )
        found.append(changed)
    backups = [run for run in records(1000) if run.verb == "backup"]
    runs = [replace(run, started=moment) for run, moment in zip(backups, moments, strict=True)]
    return _facts(found, runs, keep=retention.Policy(keep=3))


def failing() -> PageFacts:
    """Return the facts of a site whose backups have failed for the last week."""
    found = eventful()
    error = "cannot read /srv/plone/site/var/filestorage/Data.fs: Input/output error"
    since = NOW - timedelta(days=7)
    runs = [
        replace(run, outcome=history.FAILED, exit_code=4, error=error, phases={})
        if run.started > since
        else run
        for run in found.records
    ]
    old = ("critical", "the newest restore point is 7 d old, older than max_age = 26h")
    return replace(found, records=runs, findings=[old, ("critical", error), *found.findings])


def hostile() -> PageFacts:
    """Return facts with names and texts that want to be markup."""
    found = eventful()
    [tale] = found.tales
    run = replace(
        found.records[-1],
        verb=HOSTILE,
        error=HOSTILE,
        phases={HOSTILE: 1.0},
        numbers={HOSTILE: 1},
        hooks=(HookRun(name=HOSTILE, exit_code=0, seconds=1.0, output=HOSTILE),),
    )
    point = replace(tale.points[0], problems=(HOSTILE,), blobs=HOSTILE)
    return replace(
        found,
        host=HOSTILE,
        site=Path(f"/{HOSTILE}"),
        part=HOSTILE,
        destination=HOSTILE,
        findings=[("critical", HOSTILE)],
        tiles=[Tile(name=HOSTILE, value=HOSTILE, more=HOSTILE)],
        tales=[
            replace(
                tale,
                source=Source(name=HOSTILE, filestorage=Path(f"/{HOSTILE}")),
                points=[point, *tale.points[1:]],
                decisions=[replace(tale.decisions[0], point=point, reasons=(HOSTILE,))],
            )
        ],
        records=[run, replace(run, verb="backup"), replace(run, verb="verify")],
        restores=[replace(restored(found.records[-1], HOSTILE), points={HOSTILE: HOSTILE})],
    )


def beside() -> PageFacts:
    """Return the facts of a second place, a repository in which nothing is yet."""
    return replace(empty(), place="Repository far at /mnt/far/backups")


def _facts(
    restore_points: list[RestorePoint], runs: list[RunRecord], *, keep: retention.Policy
) -> PageFacts:
    decisions = retention.plan(restore_points, keep, NOW).decisions
    return PageFacts(
        host="db1.example.org",
        site=Path("/srv/plone/site"),
        part="backup",
        destination="standard",
        now=NOW,
        tiles=[
            Tile(name="Newest restore point", value="6 h old", more="2026-03-29-03-00-00"),
            Tile(name="Restore points", value="28", more="1 not whole, 17.8 GB"),
            Tile(name="Last verify", value="8 d ago", more="done, took 5 min 41 s"),
            Tile(name="Last rehearsal", value="26 h ago", more="done, took 5 min 41 s"),
            Tile(name="Room left", value="212.4 GB", more="of 500.0 GB at /mnt/b/var/backups"),
        ],
        findings=[
            ("warning", "the verify of 2026-03-21-06-00-00: the backups are not what they are")
        ],
        tales=[
            Tale(
                source=Source(
                    name=MAIN, filestorage=Path("/srv/plone/site/var/filestorage/Data.fs")
                ),
                points=restore_points,
                ranges=ranges(restore_points),
                decisions=decisions,
                next_gone=frozenset(point.stamp for point in restore_points[:7]),
            )
        ],
        records=runs,
        restores=[restored(runs[len(runs) // 2], restore_points[0].stamp)] if runs else [],
    )
