"""What is made of a data set before training: its index, small copies, optical flow, frozen features."""
