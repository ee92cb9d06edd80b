"""Everything that is compared with a target."""
