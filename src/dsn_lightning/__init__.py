"""Dynamic Sampling Networks (Zheng, Liu, Lu, Wang): a learned clip sampler in front of any video classifier."""

__version__ = "0.1.0"
