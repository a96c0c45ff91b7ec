"""The way in: from a payload, through the client middleware, to an outlet."""
