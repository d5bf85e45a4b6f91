"""Tests of the examples: each is copied, made and measured as a reader would."""
