"""What a request for faces may ask for, on the command line and of the served model."""

from __future__ import annotations

LARGEST_SEED = 2**63 - 1  # of a signed 64-bit integer, as MLflow takes it

# Noise so large drives every pixel to black or white; far beyond it the activations overflow to what is no number.
LARGEST_TRUNCATION = 100.0
