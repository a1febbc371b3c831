require "pg"
require "testbed_client"

SHOP = TestbedClient::Template.new(inputs: "#{__dir__}/migrations/*.sql") do |database|
  Dir["#{__dir__}/migrations/*.sql"].sort.each do |file|
    system(database.env, "psql", "-qv", "ON_ERROR_STOP=1", "-f", file, exception: true)
  end
end

RSpec.configure { |config| TestbedClient::RSpec.install(config, SHOP) }

RSpec.describe "people" do
  let(:connection) { PG.connect(testbed_db.url) }

  # The database is there until after this.
  after { expect(connection.exec("SELECT * FROM people").ntuples).to eq 1 }

  %w[Ada Grace].each do |name|
    it "does not miss #{name} who has gone elsewhere" do
      expect(connection.exec("SELECT * FROM people").ntuples).to eq 2
      connection.exec_params("DELETE FROM people WHERE name = $1", [name])
    end
  end
end
