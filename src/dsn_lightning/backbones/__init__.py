"""Networks: clip classifiers (B, C, T, H, W) -> (B, J) and observation networks (..., N, C, T, H, W) -> (..., N)."""
