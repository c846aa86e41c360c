"""Campaigns that kill, damage, inject and count; run ``python -m benchmarks.reliability``."""
