"""What networks and videos cost: multiply-adds, and seconds on this machine."""
