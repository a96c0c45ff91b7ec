"""In time: what is due is promoted, what a dead process held is taken back."""
