"""In time: promotion and recovery."""
