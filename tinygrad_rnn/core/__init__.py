"""The engine: an array and where it came from, a rule per operand, and the sweep back."""
