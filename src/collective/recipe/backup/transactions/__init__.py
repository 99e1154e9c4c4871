"""The transactions of any span of time, out of one log or of several: who did what.

A pack drops transactions that older restore points still have, and a restore cuts off some that had
happened.  So the list is put together from the newest log of each chain::

    coverage      which restore point is read for which transaction ids
    logged        one transaction: who, what, how much; the classes of its objects
    merging       several logs become one list, in the order of the ids
    sums          sums by user, by day and by kind of object
    renumbering   the oids that an object had one after the other, where undelete replaced one

All of it is pure, or reads a ``Log``.  Users and descriptions were written by strangers: they stay
bytes here, and are decoded only to be shown.
"""
