"""Tiers and links: real relays, servers and control groups; slow references beside fast code."""
