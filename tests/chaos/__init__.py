"""
The chaos harness: real workers on a real Redis, hurt at random moments while they work.

``python -m tests.chaos kill`` is the command; ``--help`` names the experiments. It prints what it
did and found, the seed and its own command line, and ends with code 1 when a promise broke.
"""
