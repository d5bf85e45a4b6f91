"""Tests of what runs inside a tier."""
