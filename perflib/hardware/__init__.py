"""This machine: what the system reports, and what is measured."""
