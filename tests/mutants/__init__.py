"""Tests that can fail: every unit test of what earns money, held against faults put into the code on purpose."""
