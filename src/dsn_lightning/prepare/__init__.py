"""What is prepared for a data set before training: index, small copies, optical flow, activations of frozen blocks."""
