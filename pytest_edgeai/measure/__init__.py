"""Measuring: the sequential client and the trial."""
