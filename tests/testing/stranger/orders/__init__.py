"""What customers order."""
