"""Rules that give a captured graph the form in which a target runs it best, without changing it."""
