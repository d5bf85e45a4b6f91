"""Tiers and links: what they are, how they are started, limited and shaped, and the proof that the limits hold."""
