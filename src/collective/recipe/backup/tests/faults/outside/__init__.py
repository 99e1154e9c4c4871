"""Faults from outside: real scripts whose system calls fail or kill, by strace.

The harness of this directory's parent puts its hand into Files; a call that goes past Files,
a C library or another program escapes it.  Here a script of a small site runs as it does
from cron, and each call that concerns the site or its backups goes wrong once in each way::

    EIO     a bad disk
    ENOSPC  a full one, where the call may need room
    EPERM   a file system that has no modes, owners or times
    KILL    the process is killed just before the call

After each, four questions: was the fault told, are the earlier restore points whole, does
the next run heal it, and is verify content then?

``strace.py`` finds the calls and lets them fail, ``worlds.py`` is the site and its backups,
``verbs.py`` are the scripts and the questions, ``__main__.py`` is ``make faults``.
"""
