"""The peers under measurement, one a file; `go` holds the program of the one that we had to write."""
