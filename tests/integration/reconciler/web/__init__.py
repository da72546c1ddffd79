"""What `reconciler serve` answers over HTTP, and the page in a real browser."""
