"""Speed of AquaML beside its peers; run ``python -m benchmarks``."""
