"""Policies into OPA as a bundle that OPA asks us for."""
