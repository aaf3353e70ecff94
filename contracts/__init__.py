"""The words that pass between stages; numpy and the standard library only."""
