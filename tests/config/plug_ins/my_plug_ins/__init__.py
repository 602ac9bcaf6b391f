"""Plug-ins as a user writes them."""
