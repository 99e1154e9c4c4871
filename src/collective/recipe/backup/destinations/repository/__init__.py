"""Where a repository and what knows of ZODB come together: see each room."""
