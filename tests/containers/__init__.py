"""Tests of the `docker` backend with a real engine."""
