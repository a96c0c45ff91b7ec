"""Tests of what other programs watch us by."""
