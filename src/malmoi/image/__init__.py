"""Pictures: networks, processes, samplers, and what a person draws with them."""
