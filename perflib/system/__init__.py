"""This process and its system: how perflib starts and ends, and how it starts other processes."""
