"""What is run rather than imported: training, the demo and the command line."""
