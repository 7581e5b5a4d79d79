"""Destinations that are broken on purpose, one way each: the contract suite has to notice every one of them.

`sound.py` holds the destination that keeps every rule of the house; the others are made from it.
"""
