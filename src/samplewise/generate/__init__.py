"""Sampling: uniforms, temperature, back ends, clips, streams."""
