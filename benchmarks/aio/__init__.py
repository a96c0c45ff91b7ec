"""An app of one async job, for the workers that are to have an event loop."""
