"""Speed of training and generation on this machine, measured in ratios."""
