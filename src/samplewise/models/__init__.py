"""Models of p(x_t | x_<t), their configurations and files."""
