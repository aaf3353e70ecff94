"""A phone on a cable, a board on the network, a Mac -> the same subjects as at the desk."""
