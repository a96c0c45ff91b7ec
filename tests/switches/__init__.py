"""Tests of the kill switches' room."""
