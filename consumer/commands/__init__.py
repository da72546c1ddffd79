"""Commands of `consumer` that are more than a name and options, one a file."""
