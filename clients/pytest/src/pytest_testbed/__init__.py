"""A fresh, migrated PostgreSQL database for each test, by testbed."""

from .client import SEED, Client, Database, Refused, hash_of

__all__ = ["SEED", "Client", "Database", "Refused", "hash_of"]
