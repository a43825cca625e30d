"""Measuring: bits per sample, baselines, speed."""
