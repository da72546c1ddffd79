"""What the rules, the ledger and the mending promise, sentence by sentence and against a naive model."""
