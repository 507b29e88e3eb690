"""Prompts that share their beginnings as designed, and what caches should make of them."""
