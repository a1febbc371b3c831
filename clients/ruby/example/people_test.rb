require "minitest/autorun"
require "pg"
require "testbed_client"

PEOPLE = TestbedClient::Template.new(inputs: "#{__dir__}/migrations/*.sql") do |database|
  Dir["#{__dir__}/migrations/*.sql"].sort.each do |file|
    system(database.env, "psql", "-qv", "ON_ERROR_STOP=1", "-f", file, exception: true)
  end
end

class PeopleTest < Minitest::Test
  include TestbedClient::Minitest.of(PEOPLE)

  def setup
    @connection = PG.connect(testbed_db.url)
  end

  def teardown
    @connection.close
  end

  %w[Ada Grace].each do |name|
    2.times do |nth|
      define_method("test_whoever_goes_is_missed_by_nobody_else_#{name}_#{nth}") do
        assert_equal "2", count
        @connection.exec_params("DELETE FROM people WHERE name = $1", [name])
        assert_equal "1", count
      end
    end
  end

  def count = @connection.exec("SELECT count(*) FROM people").getvalue(0, 0)
end
