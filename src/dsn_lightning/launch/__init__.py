"""Launching processes: jobs side by side, and processes that train together."""
