"""Dataclasses to JSON and back, strictly; seeds."""
