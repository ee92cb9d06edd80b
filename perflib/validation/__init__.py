"""Everything that is held against a target."""
