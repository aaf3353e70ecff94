"""Artifacts -> measurements -> verdicts: latency, memory, size and quality, with their doubt."""
