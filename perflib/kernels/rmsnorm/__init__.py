"""RMS norm, from the textbook to the fast one."""
