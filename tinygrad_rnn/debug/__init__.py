"""For errors and pictures: where in the user's code a tensor was made, and where the first nan arose."""
