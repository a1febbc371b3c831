# The package with a real testbed, which has to be in PATH: these tests run in `testbed run --pool`.

require "minitest/autorun"
require "open3"
require "rbconfig"
require "tmpdir"
require "pg"
require_relative "../lib/testbed_client"

class ClientTest < Minitest::Test
  include TestbedClient::Minitest.of(TestbedClient::Template.new)

  ROOT = File.expand_path("..", __dir__)
  COUNT = "SELECT count(*) FROM pg_database WHERE datname = $1".freeze

  def query(database, sql, *values)
    connection = PG.connect(database.url)
    values.empty? ? connection.exec(sql).values : connection.exec_params(sql, values).values
  ensure
    connection&.close
  end

  def until_it_holds(what)
    deadline = Process.clock_gettime(Process::CLOCK_MONOTONIC) + 30
    until yield
      flunk what if Process.clock_gettime(Process::CLOCK_MONOTONIC) > deadline
      sleep 0.02
    end
  end

  def test_each_has_a_database_of_its_own_and_the_template_is_made_once
    made = 0
    template = TestbedClient::Template.new(name: "once") do |database|
      made += 1
      query(database, "CREATE TABLE t (n int); INSERT INTO t VALUES (1)")
    end
    names = Array.new(16) do
      Thread.new do
        template.use do |database|
          assert_equal [["1"]], query(database, "DELETE FROM t RETURNING n")
          database.database
        end
      end
    end.map(&:value)
    assert_equal [1, 16], [made, names.uniq.size]
  end

  def test_what_is_given_back_is_gone_also_of_a_test_that_failed_unless_that_is_asked_for
    template = TestbedClient::Template.new(name: "back")
    [nil, "1"].each do |keep|
      ENV["TESTBED_KEEP_FAILED"] = keep
      name = nil
      _, told = capture_io do
        assert_raises(RuntimeError) { template.use { |database| raise(name = database.database) } }
      end
      count = -> { query(testbed_db, COUNT, name)[0][0] }
      keep ? assert_equal("1", count.call) : until_it_holds("it is gone") { count.call == "0" }
      assert_equal !keep.nil?, told.include?("is kept")
    end
  ensure
    ENV.delete("TESTBED_KEEP_FAILED")
  end

  def test_a_migration_that_fails_is_told_and_not_tried_again
    tried = 0
    template = TestbedClient::Template.new { tried += 1; raise "the migration is wrong" }
    2.times { assert_equal "the migration is wrong", assert_raises(RuntimeError) { template.fresh }.message }
    assert_equal 1, tried
  end

  def test_other_inputs_are_other_templates
    Dir.mktmpdir do |folder|
      hash = lambda do |text|
        File.write("#{folder}/a.sql", text)
        TestbedClient::Template.new(inputs: "#{folder}/*.sql").hash_of_template
      end
      assert_equal hash.call("first"), hash.call("first")
      refute_equal hash.call("first"), hash.call("second")
      missing = TestbedClient::Template.new(inputs: "#{folder}/*.none")
      assert_match(/no file is called like/, assert_raises(TestbedClient::Error) { missing.fresh }.message)
    end
  end

  def test_nothing_shows_a_password
    assert_includes testbed_db.url, testbed_db.password
    refute_match(/#{Regexp.escape(testbed_db.password)}["@]/, [testbed_db].inspect + testbed_db.to_s)
  end

  def alone(folder, code, env = {})
    outside = { TestbedClient::VARIABLE => nil }.merge(env)
    command = [RbConfig.ruby, "-I#{ROOT}/lib", "-rtestbed_client", "-e", code]
    Open3.capture2e(outside, *command, chdir: folder)[0]
  end

  def servers(folder)
    Dir["/proc/[0-9]*"].select do |path|
      File.readlink("#{path}/cwd") == folder && File.read("#{path}/cmdline").include?("testbed\0run")
    rescue SystemCallError
      false
    end
  end

  def test_without_a_pool_it_starts_one_that_ends_with_the_process
    Dir.mktmpdir do |folder|
      File.write("#{folder}/testbed.yaml", "databases:\n  orders: {use: postgres, user: striv}\n")
      assert_equal "striv", alone(folder, "TestbedClient::Template.new.use { |database| print database.user }")
      until_it_holds("it has ended") { servers(folder).empty? }
    end
  end

  def test_the_copies_are_of_the_seed_where_the_project_has_one_and_it_is_told_where_it_has_none
    Dir.mktmpdir do |folder|
      File.write("#{folder}/testbed.yaml", "databases:\n  orders: {use: postgres, seed: seed.sql}\n")
      File.write("#{folder}/seed.sql", "CREATE TABLE t (n int); INSERT INTO t VALUES (42)")
      ask = "system(database.env, 'psql', '-qAtc', 'DELETE FROM t RETURNING n', exception: true)"
      assert_equal "42\n42\n", alone(folder, "2.times { TestbedClient::SEED.use { |database| #{ask} } }")
    end
    assert_match(/404: .* has no seed/, assert_raises(TestbedClient::Refused) { TestbedClient::SEED.fresh }.message)
  end

  def test_a_process_that_is_killed_leaves_no_server
    Dir.mktmpdir do |folder|
      code = "TestbedClient::Template.new.fresh; File.write('begun', ''); sleep"
      command = [RbConfig.ruby, "-I#{ROOT}/lib", "-rtestbed_client", "-e", code]
      pid = spawn({ TestbedClient::VARIABLE => nil }, *command, chdir: folder)
      until_it_holds("it has begun") { File.exist?("#{folder}/begun") }
      assert_equal 1, servers(folder).size
      Process.kill(:KILL, pid)
      Process.wait(pid)
      until_it_holds("the server has ended") { servers(folder).empty? }
    end
  end

  def test_what_is_missing_or_wrong_is_told
    Dir.mktmpdir do |folder|
      show = "begin; TestbedClient.url; rescue TestbedClient::Error => e; print e.message; end"
      assert_match(/\Atestbed is not in PATH, .*make build/, alone(folder, show, "PATH" => "/nowhere"))
      told = alone(folder, "TestbedClient.run = %w[--with oracle]; #{show}")
      assert_match(/\Atestbed run -q --with oracle ended with 2:\nerror: /, told)
    end
  end

  def test_the_example
    [{}, { TestbedClient::VARIABLE => nil }].each do |env|
      command = [RbConfig.ruby, "-I#{ROOT}/lib", "#{ROOT}/example/people_test.rb"]
      said, = Open3.capture2e(env, *command)
      assert_includes said, "4 runs, 8 assertions, 0 failures, 0 errors, 0 skips"
    end
  end

  def test_the_example_for_rspec
    begin
      gem "rspec-core"
      gem "rspec-expectations"
    rescue Gem::LoadError
      skip "RSpec is missing"
    end
    command = [RbConfig.ruby, "-I#{ROOT}/lib", "-e", 'require "rspec/core"; exit RSpec::Core::Runner.run(ARGV)']
    said, = Open3.capture2e(*command, "#{ROOT}/example/people_spec.rb")
    assert_includes said, "2 examples, 0 failures"
  end
end
