"""Tests of orders over many jobs."""
