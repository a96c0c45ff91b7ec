"""An app with async jobs, for those worker processes that are to have an event loop."""
