"""How our state's tables came to be."""
