"""Servers of others, run by their own packages in environments of their own: what they need, and a script for each."""
