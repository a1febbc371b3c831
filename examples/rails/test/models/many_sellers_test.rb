require "test_helper"

# Real commits, by several connections at a time.
class ManySellersTest < ActiveSupport::TestCase
  self.use_transactional_tests = false

  teardown { [Ticket, Concert, Booking].each(&:delete_all) }

  test "they never sell too much" do
    concert = Concert.create!(name: "Queen", capacity: 10, price: 50)
    sellers = Array.new(4) do |seller|
      Thread.new do
        sold = 0
        5.times { |visitor| Concert.find(concert.id).sell("visitor #{visitor} of seller #{seller}") and sold += 1 }
        sold
      rescue Concert::SoldOut
        sold
      ensure
        [ApplicationRecord, BooksRecord].each { |record| record.connection_pool.release_connection }
      end
    end
    assert_equal 10, sellers.sum(&:value)
    assert_equal [10, 10], [concert.tickets.count, Booking.count]
  end
end
