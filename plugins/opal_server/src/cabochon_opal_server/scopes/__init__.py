"""Scopes: policies and base data of their own for each tenant."""
