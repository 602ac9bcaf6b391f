"""What a training does besides its algorithm: logging, checkpoints, averaged weights."""
