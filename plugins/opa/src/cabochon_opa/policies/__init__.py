"""Policies into OPA: one by one over REST."""
