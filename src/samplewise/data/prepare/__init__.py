"""From a folder of recordings to a corpus: walk, decode, split, assemble."""
