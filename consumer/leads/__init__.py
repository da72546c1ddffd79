"""What a change means for a customer: the business rules, pure and without I/O."""
