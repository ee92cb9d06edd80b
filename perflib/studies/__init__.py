"""One file for each notebook, and what they share."""
