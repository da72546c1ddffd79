"""Ways of having servers: processes of this machine, or containers."""
