"""Matrix multiplication, from three loops to the fast one."""
