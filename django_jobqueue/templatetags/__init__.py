"""What the templates of the dashboard load."""
