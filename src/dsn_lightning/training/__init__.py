"""What a training does besides its algorithm: logs, checkpoints, averaged weights, messages."""
