"""Records, section/clip positions, decoding, transforms, data sets and the data module."""
