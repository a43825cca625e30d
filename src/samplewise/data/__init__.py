"""Corpora: preparing, splitting, reading, streaming in lanes."""
