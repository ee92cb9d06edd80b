"""What is kept on disk: recorded, read, asked and compared."""
