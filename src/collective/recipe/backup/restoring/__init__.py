"""Puts a State at the live paths of a site; files that are right there already stay.

It knows no destination: a State is all that it reads, and Files all that it writes with.  A
restore goes through it from above to below::

    placing     one source: where it goes, what becomes live, with which permissions
    staging     its filestorage and its blobs, both at once (together)
    stagedlog, stagedblobs  all of each, or only what differs from what is live, verified
    ways        how what is live gives way: by its name, by its contents, in place
    swap        all of it becomes live, under a journal; finished if it was broken off
    undoing, letting_go, giving_up  what was replaced comes back, or goes; or all is set aside
    journal     what is to change, and how far that has come; written before the first change
    journalcheck  whether that still fits what is there
    exchange    what one move does: tried, saved, carried out
    moves       one name or directory that changes
    graft, transplant   live data that is changed in its place
"""
