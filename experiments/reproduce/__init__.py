"""The tables and figures of the paper: which trainings and evaluations each needs, what they cost, what they gave."""
