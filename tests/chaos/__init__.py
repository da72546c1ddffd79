"""The whole pipeline under fire: everything is killed, stopped, restarted and disturbed, and must still be exact."""
