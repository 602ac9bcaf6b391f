"""What several tests share: synthetic data, commands in fresh processes, readers of files."""
