"""The company's server, asked by query: what needs no server."""
