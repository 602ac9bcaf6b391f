"""The command-line programs: thin, and the only modules that know Hydra."""
