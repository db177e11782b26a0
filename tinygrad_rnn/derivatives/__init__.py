"""Built on the sweep back: Jacobians, checkpointing, and the numerical check of gradients."""
