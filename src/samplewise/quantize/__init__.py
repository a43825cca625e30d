"""Quantisers: amplitudes to integer codes and back."""
