"""A box office: sells numbered tickets for concerts, never more than there are, and one to each visitor."""

TABLES = [
    """CREATE TABLE concerts (
        name VARCHAR(100) PRIMARY KEY,
        capacity INTEGER NOT NULL,
        sold INTEGER NOT NULL
    )""",
    """CREATE TABLE tickets (
        concert VARCHAR(100) NOT NULL,
        number INTEGER NOT NULL,
        visitor VARCHAR(100) NOT NULL,
        UNIQUE (concert, visitor),
        FOREIGN KEY (concert) REFERENCES concerts (name)
    )""",
]


class SoldOut(Exception):
    """There are fewer tickets left than are asked for."""


class HasTicket(Exception):
    """Somebody has a ticket for this concert already."""


def create_tables(database):
    with database.transaction() as execute:
        for table in TABLES:
            execute(table)


def open_sale(database, concert, capacity):
    with database.transaction() as execute:
        execute("INSERT INTO concerts VALUES (%s, %s, 0)", concert, capacity)


def sell(database, concert, *visitors):
    """A ticket for each visitor, or none for any of them. Returns the tickets' numbers."""
    numbers = []
    try:
        with database.transaction() as execute:
            for visitor in visitors:
                # The lock makes other sellers wait, so that no two of them see the same number.
                [(capacity, sold)] = execute(f"SELECT capacity, sold FROM concerts WHERE name = %s {database.lock}", concert)
                if sold == capacity:
                    raise SoldOut(concert)
                execute("UPDATE concerts SET sold = %s WHERE name = %s", sold + 1, concert)
                execute("INSERT INTO tickets VALUES (%s, %s, %s)", concert, sold + 1, visitor)
                numbers.append(sold + 1)
    except database.Duplicate as error:
        raise HasTicket(concert) from error
    return numbers


def tickets(database, concert):
    """Numbers and visitors, in the order of the numbers."""
    with database.transaction(only_reads=True) as execute:
        return list(execute("SELECT number, visitor FROM tickets WHERE concert = %s ORDER BY number", concert))
