"""What a user calls: options, times, bulk, and a job while it runs."""
