"""Each test runs once for each database; nothing in here knows which one it is."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest

from box_office import HasTicket, SoldOut, open_sale, sell, tickets


def test_tickets_are_numbered(database):
    open_sale(database, "Nina Simone", 3)
    assert sell(database, "Nina Simone", "Ada") == [1]
    assert sell(database, "Nina Simone", "Grace", "Edsger") == [2, 3]
    assert tickets(database, "Nina Simone") == [(1, "Ada"), (2, "Grace"), (3, "Edsger")]


def test_a_group_gets_all_of_its_tickets_or_none(database):
    open_sale(database, "Sun Ra", 2)
    with pytest.raises(SoldOut):
        sell(database, "Sun Ra", "Ada", "Grace", "Edsger")
    assert tickets(database, "Sun Ra") == []
    # The numbers have been given back, too.
    assert sell(database, "Sun Ra", "Barbara") == [1]


def test_nobody_gets_two_tickets_for_one_concert(database):
    open_sale(database, "Björk", 10)
    open_sale(database, "Fela Kuti", 10)
    sell(database, "Björk", "Ada")
    with pytest.raises(HasTicket):
        sell(database, "Björk", "Grace", "Ada")
    assert tickets(database, "Björk") == [(1, "Ada")]
    assert sell(database, "Fela Kuti", "Ada") == [1]


NAMES = {"accents": "Zoë Ångström", "chinese": "李小龍", "emoji": "🎺 Dizzy 🎶", "quotes": "O'Brien\"; DROP TABLE tickets; -- %s ? \\"}


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES.keys())
def test_names_come_back_as_they_went_in(database, name):
    open_sale(database, name, 1)
    sell(database, name, name)
    assert tickets(database, name) == [(1, name)]


def test_many_sellers_never_sell_too_much(connect):
    sellers, visitors_each, capacity = 4, 10, 25
    open_sale(connect(), "Queen", capacity)
    databases = [connect() for _ in range(sellers)]
    start = Barrier(sellers)

    def work(seller):
        start.wait()
        sold = []
        for visitor in range(visitors_each):
            try:
                sold += sell(databases[seller], "Queen", f"visitor {visitor} of seller {seller}")
            except SoldOut:
                pass
        return sold

    with ThreadPoolExecutor(sellers) as pool:
        sold = [number for numbers in pool.map(work, range(sellers)) for number in numbers]
    assert sorted(sold) == list(range(1, capacity + 1))
    assert len(tickets(connect(), "Queen")) == capacity


def test_nobody_sees_a_sale_that_is_not_done(connect):
    seller, visitor = connect(), connect()
    open_sale(seller, "Can", 1)
    with seller.transaction() as execute:
        execute("INSERT INTO tickets VALUES (%s, %s, %s)", "Can", 1, "Ada")
        assert tickets(visitor, "Can") == []
    assert tickets(visitor, "Can") == [(1, "Ada")]


def test_databases_know_nothing_of_each_other(databases):
    for number, database in enumerate(databases):
        open_sale(database, "ABBA", 10)
        sell(database, "ABBA", f"visitor {number}")
    for number, database in enumerate(databases):
        assert tickets(database, "ABBA") == [(1, f"visitor {number}")]
