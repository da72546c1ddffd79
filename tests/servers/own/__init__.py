"""Tests of the servers themselves: that they start, end, and leave alone what is not theirs."""
