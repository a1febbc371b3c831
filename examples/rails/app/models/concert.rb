class Concert < ApplicationRecord
  class SoldOut < StandardError; end

  has_many :tickets

  validates :capacity, numericality: { only_integer: true }

  # One ticket to a visitor; the lock makes other sellers wait.
  def sell(visitor)
    ticket = with_lock do
      raise SoldOut, name if tickets.count >= capacity

      tickets.create!(visitor: visitor)
    end
    Booking.create!(ticket_id: ticket.id, visitor: visitor, amount: price)
    ticket
  end
end
