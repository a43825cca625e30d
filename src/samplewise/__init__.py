"""Raw-audio generation, one sample at a time."""
