"""Many steps of a teacher -> few of a student: one method a file, one interface for all."""
