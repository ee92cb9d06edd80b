"""The pages that get shared."""
