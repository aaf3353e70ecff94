"""A program becomes a quantized program: calibration, scales, recipes."""
