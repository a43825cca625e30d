"""Listening tests: AB preference, ABX, mean opinion scores and comparisons."""
