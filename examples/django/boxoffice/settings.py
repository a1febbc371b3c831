"""Tickets are sold in PostgreSQL, and the money is booked in MariaDB."""

import os


def database(engine, name):
    """What testbed says of a database: POSTGRES_HOST, POSTGRES_PORT and so on."""
    said = {key: os.environ.get(f"{name}_{key}", "") for key in ["HOST", "PORT", "USER", "PASSWORD"]}
    return {"ENGINE": f"django.db.backends.{engine}", "NAME": os.environ.get(f"{name}_DATABASE", ""), **said}


DATABASES = {"default": database("postgresql", "POSTGRES"), "books": database("mysql", "BOOKS")}
# Before version 5.2 Django asks for three bytes a character at most, which leaves out 🎺.
DATABASES["books"]["OPTIONS"] = {"charset": "utf8mb4"}
DATABASE_ROUTERS = ["boxoffice.routers.Books"]

INSTALLED_APPS = ["tickets"]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
SECRET_KEY = os.environ.get("SECRET_KEY", "for tests")
USE_TZ = True
