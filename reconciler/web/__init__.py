"""The HTTP API of `reconciler serve`."""
