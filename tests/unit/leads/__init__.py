"""What the rules, the ledger and the repairing promise, sentence by sentence and against a naive model."""
