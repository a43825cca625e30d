"""Random search over the training configuration, in a study that several workers can share."""
