"""Core ML packages opened, evaluated and measured where there is no Core ML."""
