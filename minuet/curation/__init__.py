"""Teachers' candidates are put before people, and their answers become the kept set."""
