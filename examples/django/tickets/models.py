from django.db import models, transaction


class SoldOut(Exception):
    """There are no tickets left."""


class Concert(models.Model):
    name = models.CharField(max_length=100, unique=True)
    capacity = models.PositiveIntegerField()
    price = models.DecimalField(max_digits=8, decimal_places=2)

    def sell(self, visitor):
        """One ticket to a visitor; the lock makes other sellers wait."""
        with transaction.atomic():
            concert = Concert.objects.select_for_update().get(pk=self.pk)
            if concert.tickets.count() >= concert.capacity:
                raise SoldOut(concert.name)
            ticket = concert.tickets.create(visitor=visitor)
        Booking.objects.create(ticket=ticket.pk, visitor=visitor, amount=concert.price)
        return ticket


class Ticket(models.Model):
    concert = models.ForeignKey(Concert, models.PROTECT, related_name="tickets")
    visitor = models.CharField(max_length=100)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["concert", "visitor"], name="one_ticket_each")]


class Booking(models.Model):
    """In another database, where no foreign key leads."""

    ticket = models.BigIntegerField(unique=True)
    visitor = models.CharField(max_length=100)
    amount = models.DecimalField(max_digits=8, decimal_places=2)
