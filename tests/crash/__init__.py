"""
A crash at every step of a worker's life, enumerated.

``python -m tests.crash`` lives the same life again and again, and kills it each time at
another call to Redis: before the call, after it, and between two commands of a pipeline.
"""
