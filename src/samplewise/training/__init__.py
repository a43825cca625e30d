"""Training by stateful truncated backpropagation through time."""
