"""Puts a State where a site looks for it; what is right there already stays.

It knows no destination: a State is all that it reads, and Files all that it writes with.
"""
