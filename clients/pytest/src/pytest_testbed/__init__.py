"""A fresh, migrated PostgreSQL database for each test, by testbed."""

from .client import Client, Database, Refused, hash_of

__all__ = ["Client", "Database", "Refused", "hash_of"]
