"""The compiled parts of a decoder's pass."""
