"""Measure this package side by side with what sites use otherwise.

``python -m benchmarks --scratch DIRECTORY`` (or ``make bench``) makes a site, lets each
contestant do the same work in turns, as whole processes, and prints tables of medians,
ratios and the goals beside them::

    site.py          the site: years of small commits, a catalog, blobs
    states.py        the site as it was yesterday, as it is today, and packed
    contestants.py   ours, collective.recipe.backup 6.0.0, ZODB's repozo
    small.py         many small blobs alone, against rsync
    keepers.py       ours, borg and restic, with encrypted repositories
    repositories.py  what is measured with those
    works.py         what is measured: how it is prepared, what is run, what to reach
    measuring.py     time, memory, bytes and inodes of a process and what it leaves
    counting.py      the operations of the store that a run of ours takes
    buckets.py       ours and restic, with a server of S3: a command of its own
    standby.py       a standby behind a busy source, both killed: a command of its own
    memory.py        the memory of each verb of a repository: a command of its own
    tables.py        the tables

What is made once is kept in the scratch directory; seconds do not travel to other
machines, ratios do.
"""
