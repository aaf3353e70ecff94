"""The same student by the ways that people have without minuet, measured beside it."""
