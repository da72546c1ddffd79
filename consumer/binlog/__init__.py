"""MySQL's and MariaDB's bytes become row changes."""
