"""A decoder on these kernels, and where the time of its passes goes."""
