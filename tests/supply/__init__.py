"""What we depend on: whether weaknesses of it are known, and a bill of materials."""
