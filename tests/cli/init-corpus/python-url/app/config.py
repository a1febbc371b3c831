DATABASE_URL = os.getenv("DATABASE_URL", "postgresql+asyncpg://app:hush@localhost/shop")
