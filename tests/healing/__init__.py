"""An app of the tests: rows that need a job, of several kinds, and their reconcilers."""
