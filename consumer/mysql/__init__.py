"""The company's server, asked by query."""
