"""What the worker promises, shown on real processes: started, hurt, and counted after."""
