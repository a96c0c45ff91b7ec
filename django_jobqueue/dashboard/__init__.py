"""
The pages in Django's admin: see what waits, runs and fails, and steer it.

Plain views on the admin's own frame. Whatever they show comes from ``api`` and the
rooms beside it; whatever they change goes through ``routes.Act``, which asks for the
permission and writes it down.
"""
