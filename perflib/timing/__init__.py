"""From a function to a measurement."""
