"""The parts of the reconciler that need no server."""
