"""Recipes: a YAML file read into a `Campaign`, checked as a whole, every fault with its line.

`load` is where to begin. The modules are imported by name.
"""
