import os
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.postgresql",
        "OPTIONS": {"USER": "no"},
        "NAME": os.environ.get("DB_NAME", "shop"),
        "USER": "app",
        "PASSWORD": os.environ["DB_PASSWORD"],
        "TEST": {"NAME": "no"},
    },
    "replica": {"ENGINE": "django.db.backends.postgresql", "NAME": "other"},
}
CACHES = {"default": {"BACKEND": "x"}}
