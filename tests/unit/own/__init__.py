"""What the tests themselves stand on, and what holds for every folder of the project."""
