class Books:
    """Bookings are in the database `books`, and everything else is in `default`."""

    def db_for_read(self, model, **hints):
        return "books" if model._meta.model_name == "booking" else "default"

    db_for_write = db_for_read

    def allow_migrate(self, db, app_label, model_name=None, **hints):
        return db == ("books" if model_name == "booking" else "default")
