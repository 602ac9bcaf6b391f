"""The data module: videos as batches of section clips."""
