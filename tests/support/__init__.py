"""What tests of every room stand on: waiting, the processes of a trial, what these are told, and temporary places."""
