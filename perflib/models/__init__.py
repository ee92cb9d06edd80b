"""What the caches should do, and how right that is."""
