"""The tests that touch a server or a Python, against its versions one after the other: `make test-versions`."""
