require "minitest/autorun"
require "testbed_client"
require_relative "../shows"

# Each test has a server of its own, with all migrations in it: real commits, and nothing to roll back.
class TicketsTest < Minitest::Test
  include TestbedClient::Minitest.of(TestbedClient::SEED)

  def setup
    ActiveRecord::Base.establish_connection(
      adapter: "mysql2", host: testbed_db.host, port: testbed_db.port,
      username: testbed_db.user, password: testbed_db.password, database: testbed_db.database
    )
    @hamlet = Show.find_by!(title: "Hamlet")
  end

  def teardown = ActiveRecord::Base.remove_connection

  def test_the_last_migration_is_in
    assert_equal "20260102000000", Show.connection.select_value("SELECT max(version) FROM schema_migrations")
  end

  # Whichever is first, the other does not find its tickets.
  %w[Ophelia Horatio].each do |holder|
    define_method("test_#{holder}_has_the_first_ticket") { assert_equal 1, @hamlet.sell(holder).id }
  end

  def test_many_sellers_never_sell_too_much
    sellers = Array.new(4) do |seller|
      Thread.new do
        Show.find(@hamlet.id).sell("visitor #{seller}")
      rescue Show::SoldOut
        nil
      ensure
        ActiveRecord::Base.connection_pool.release_connection
      end
    end
    assert_equal 2, sellers.filter_map(&:value).size
    assert_equal 2, Ticket.count
  end

  def test_nobody_gets_two_tickets
    @hamlet.sell("Ophelia")
    assert_raises(ActiveRecord::RecordNotUnique) { @hamlet.sell("Ophelia") }
  end
end
