"""The verbs: backup, restore, list and their kin, for all sources of a site at once.

Each takes a Run, which holds all that comes from outside: configuration, clock, disk,
progress and the way to talk to the user.  A verb returns what it found out or raises; it
neither prints nor ends the process.
"""
