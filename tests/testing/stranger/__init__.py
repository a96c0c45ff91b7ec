"""A project of somebody else's, with its tests: copied to a place of its own, and run there."""
