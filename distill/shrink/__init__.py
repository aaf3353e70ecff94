"""Networks with fewer blocks, channels, pixels or frames, and how they recover."""
