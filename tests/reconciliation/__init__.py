"""What heals the queue from the database."""
