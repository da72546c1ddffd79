"""Row changes out of MySQL's and MariaDB's bytes."""
