"""What tests of every room stand on: waiting, the process world, what processes are told, and temporary places."""
