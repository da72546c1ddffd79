"""The demo: a simulated claims company, the whole pipeline behind it, and an oracle that checks every conversion.

`python -m tests.demo` runs it; the chaos tests reuse company, oracle and comparison. Nothing in here imports
`consumer` or `reconciler`: what is compared shares no code with what compares it.
"""
