"""The studio: models, live generation and takes in a browser."""
