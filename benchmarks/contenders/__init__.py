"""One file per library: how it is set up for a measurement."""
