"""What is looked at every few seconds, for health, metrics, the status page and pre-call checks."""
