"""Prices and stock of a very small shop."""
