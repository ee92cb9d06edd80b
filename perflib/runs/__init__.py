"""Record, read, query and compare what is kept on disk."""
