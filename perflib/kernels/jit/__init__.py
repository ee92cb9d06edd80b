"""How kernels are compiled, vectorised and dispatched."""
