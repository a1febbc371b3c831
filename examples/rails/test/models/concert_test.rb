require "test_helper"

# Each test is undone in both databases.
class ConcertTest < ActiveSupport::TestCase
  setup { @concert = Concert.create!(name: "Nina Simone", capacity: 2, price: "19.50") }

  test "a sale is written to both databases" do
    visitors = ["Zoë Ångström 🎺", "O'Brien\"; DROP TABLE tickets; --"]
    visitors.each { |visitor| @concert.sell(visitor) }
    assert_equal visitors, @concert.tickets.order(:id).pluck(:visitor)
    assert_equal visitors, Booking.order(:id).pluck(:visitor)
    assert_equal 39, Booking.sum(:amount)
  end

  test "no more is sold than there is" do
    2.times { |number| @concert.sell("visitor #{number}") }
    assert_raises(Concert::SoldOut) { @concert.sell("Edsger") }
    assert_equal 2, Booking.count
  end

  test "nobody gets two tickets" do
    @concert.sell("Ada")
    assert_raises(ActiveRecord::RecordNotUnique) do
      Concert.transaction(requires_new: true) { @concert.sell("Ada") }
    end
    assert_equal ["Ada"], @concert.tickets.pluck(:visitor)
  end

  test "the databases are what they are taken for" do
    assert_equal "PostgreSQL", Concert.connection.adapter_name
    assert_equal "Mysql2", Booking.connection.adapter_name
  end
end
