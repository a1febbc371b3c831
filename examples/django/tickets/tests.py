from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal

from django.db import IntegrityError, connections, transaction
from django.db.models import Sum
from django.test import TestCase, TransactionTestCase

from .models import Booking, Concert, SoldOut, Ticket


class Sales(TestCase):
    """Each test is undone in both databases, which Django's test runner has made beside those of the settings."""

    databases = {"default", "books"}

    @classmethod
    def setUpTestData(cls):
        cls.concert = Concert.objects.create(name="Nina Simone", capacity=2, price="19.50")

    def test_a_sale_is_written_to_both_databases(self):
        self.concert.sell("Zoë Ångström 🎺")
        self.concert.sell("O'Brien; DROP TABLE tickets_ticket; --")
        self.assertEqual(Booking.objects.aggregate(Sum("amount")), {"amount__sum": Decimal("39.00")})
        sold = Ticket.objects.order_by("pk").values_list("visitor", flat=True)
        booked = Booking.objects.order_by("pk").values_list("visitor", flat=True)
        self.assertEqual(list(sold), ["Zoë Ångström 🎺", "O'Brien; DROP TABLE tickets_ticket; --"])
        self.assertEqual(list(sold), list(booked))

    def test_no_more_is_sold_than_there_is(self):
        self.concert.sell("Ada")
        self.concert.sell("Grace")
        with self.assertRaises(SoldOut):
            self.concert.sell("Edsger")
        self.assertEqual(Booking.objects.count(), 2)

    def test_nobody_gets_two_tickets(self):
        self.concert.sell("Ada")
        with self.assertRaises(IntegrityError), transaction.atomic():
            self.concert.sell("Ada")
        self.assertEqual(self.concert.tickets.count(), 1)

    def test_the_databases_are_what_they_are_taken_for(self):
        for alias, vendor in [("default", "postgresql"), ("books", "mysql")]:
            self.assertEqual(connections[alias].vendor, vendor)
            self.assertTrue(connections[alias].settings_dict["NAME"].startswith("test_"))


class ManySellers(TransactionTestCase):
    """Real commits, by several connections at a time."""

    databases = {"default", "books"}

    def test_they_never_sell_too_much(self):
        concert = Concert.objects.create(name="Queen", capacity=10, price="50")

        def sell(seller):
            sold = 0
            try:
                for visitor in range(5):
                    concert.sell(f"visitor {visitor} of seller {seller}")
                    sold += 1
            except SoldOut:
                pass
            finally:
                connections.close_all()
            return sold

        with ThreadPoolExecutor(4) as pool:
            self.assertEqual(sum(pool.map(sell, range(4))), 10)
        self.assertEqual((concert.tickets.count(), Booking.objects.count()), (10, 10))
