"""The cost of networks and videos: multiply-adds, and seconds on this machine."""
