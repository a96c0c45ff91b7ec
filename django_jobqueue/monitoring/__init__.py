"""
What another program watches us by: figures for Prometheus, and who may read them.

Everything is read when it is asked for, out of Redis and of the few rows that the
reconcilers have in the database. Nothing is counted here, so that any process gives the
same answer, and one more that asks changes none.
"""
