"""Policies into one authorization model."""
