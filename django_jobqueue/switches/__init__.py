"""The kill switches: a waffle flag for every job class, asked without SQL."""
