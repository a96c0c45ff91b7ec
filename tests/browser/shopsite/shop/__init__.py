"""
An imaginary shop, whose queues are on the pictures of the manual.

It is imported as ``shop``, so that its jobs are called as those of a project are; by its own
modules relatively, for to who checks types it is a package of the tests.
"""
