# Fresh databases of testbed's pool, asked for by IntegreSQL's interface.

require "digest"
require "erb"
require "json"
require "net/http"
require "tempfile"
require "uri"

module TestbedClient
  VARIABLE = "INTEGRESQL_CLIENT_BASE_URL".freeze
  MISSING = "testbed is not in PATH, and #{VARIABLE} is not set. Build testbed from its repository (`make build` makes " \
    "target/release/testbed) and put it into PATH, or run the tests in `testbed run --with postgres --pool -- rake test`.".freeze
  # Says where the pool is, and stays until nobody has the other end of its standard input any more: also where this
  # process is killed.
  HOLDER = ["sh", "-c", "echo \"$#{VARIABLE}\"; exec cat >/dev/null"].freeze

  class Error < StandardError; end

  # The pool has not done what it was asked for. No answer at all is status 0.
  class Refused < Error
    attr_reader :status

    def initialize(status, message)
      super("testbed's pool answers #{status}: #{message}")
      @status = status
    end
  end

  # A database and its login. Nothing that shows it shows the password.
  class Database
    attr_reader :host, :port, :user, :database, :params

    def initialize(config)
      @host, @port = config.fetch("host"), Integer(config.fetch("port"))
      @user, @database = config.fetch("username"), config.fetch("database")
      @params = config["additionalParams"] || {}
      password = config.fetch("password")
      define_singleton_method(:password) { password }
    end

    def url
      query = "?#{URI.encode_www_form(params)}" unless params.empty?
      login = [user, password].map { |part| ERB::Util.url_encode(part) }.join(":")
      "postgresql://#{login}@#{host}:#{port}/#{ERB::Util.url_encode(database)}#{query}"
    end

    # The variables that lead a command to this database.
    def env
      {
        "DATABASE_URL" => url, "PGHOST" => host, "PGPORT" => port.to_s, "PGUSER" => user, "PGPASSWORD" => password,
        "PGDATABASE" => database, "PGSSLMODE" => params["sslmode"], "PGSSLROOTCERT" => params["sslrootcert"]
      }.compact
    end

    def to_s = "#{user}@#{host}:#{port}/#{database}"
    def inspect = "#<#{self.class} #{self}>"
  end

  # A database that was handed out, until it is given back.
  Lent = Struct.new(:hash_of_template, :id, :database) do
    # It is removed, and nobody ever gets it again. A test that has failed keeps it where TESTBED_KEEP_FAILED is set.
    def give_back(failed: false)
      if failed && !ENV.fetch("TESTBED_KEEP_FAILED", "").empty?
        warn "testbed: #{database} is kept until `testbed run` ends"
      else
        TestbedClient.ask(:Post, "/templates/#{hash_of_template}/tests/#{id}/recreate")
      end
    rescue Refused
      # The end of `testbed run` takes it.
    end
  end

  # What databases are copies of. It is filled when the first of them is asked for.
  class Template
    # Globs of the files that it hangs on, and what fills it.
    def initialize(inputs: [], name: "", &migrate)
      @inputs, @name, @migrate = Array(inputs), name, migrate
      @mutex = Mutex.new
    end

    def hash_of_template
      @hash_of_template ||= Digest::SHA256.new.tap do |digest|
        add = ->(part) { digest << "#{part.bytesize}:" << part }
        add.call([@name, *@migrate&.source_location].join(":"))
        @inputs.each do |glob|
          files = Dir.glob(glob).select { |path| File.file?(path) }.sort
          raise Error, "testbed: no file is called like #{glob}" if files.empty?

          files.each { |path| [path, File.binread(path)].each(&add) }
        end
      end.hexdigest
    end

    # A database that nobody else has, to be given back.
    def fresh
      loop do
        make
        return copy
      rescue Refused => refused
        # Somebody else was at it and has failed: here it fails too, and says why.
        raise unless [404, 410].include?(refused.status)
      end
    end

    # Calls a block with a database of its own.
    def use
      lent = fresh
      failed = true
      result = yield lent.database
      failed = false
      result
    ensure
      lent&.give_back(failed: failed)
    end

    private

    def copy
      answer = TestbedClient.ask(:Get, "/templates/#{hash_of_template}/tests")
      Lent.new(hash_of_template, answer["id"], Database.new(answer["database"]["config"]))
    end

    # Makes it unless it is there. Of several processes one does it, and the others do not wait here.
    def make
      @mutex.synchronize do
        # A migration that has failed is not tried again for each test.
        raise @failure if @failure

        begin
          answer = TestbedClient.ask(:Post, "/templates", hash: hash_of_template)
        rescue Refused => refused
          return if refused.status == 423

          raise
        end
        fill(Database.new(answer["database"]["config"]))
      end
    end

    def fill(database)
      @migrate&.call(database)
      TestbedClient.ask(:Put, "/templates/#{hash_of_template}")
    rescue Exception => failure # rubocop:disable Lint/RescueException
      @failure = failure
      begin
        TestbedClient.ask(:Delete, "/templates/#{hash_of_template}")
      rescue Refused
        # Why it was not made is what has to be told.
      end
      raise
    end
  end

  # What the project's seed has put into its database, `seed` in testbed.yaml: there is nothing to fill.
  class Seed < Template
    def hash_of_template = "testbed"
    def fresh = copy
  end
  SEED = Seed.new

  # For Minitest: `include TestbedClient::Minitest.of(template)` gives each test `testbed_db`.
  module Minitest
    def self.of(template)
      Module.new do
        define_method(:testbed_db) { (@testbed_lent ||= template.fresh).database }
        # The last of Minitest's own hooks: the tests' `teardown` still has the database.
        define_method(:after_teardown) do
          super()
        ensure
          @testbed_lent&.give_back(failed: !failures.empty?)
          @testbed_lent = nil
        end
      end
    end
  end

  # For RSpec: `TestbedClient::RSpec.install(config, template)` gives each example `testbed_db`.
  module RSpec
    def self.install(config, template)
      config.include(Module.new { define_method(:testbed_db) { (@testbed_lent ||= template.fresh).database } })
      # After the groups' own hooks, which still have the database.
      config.append_after do |example|
        @testbed_lent&.give_back(failed: !example.exception.nil?)
        @testbed_lent = nil
      end
    end
  end

  @lock = Mutex.new

  class << self
    # Arguments of `testbed run` where the tests do not run in one.
    attr_accessor :run

    # The pool's address: that of the `testbed run` around this, or of one that is started now and ends with this process.
    def url
      @lock.synchronize { @url ||= ENV[VARIABLE] || start }
    end

    def ask(method, path, body = nil)
      uri = URI("#{url}/v1#{path}")
      request = Net::HTTP.const_get(method).new(uri, "Content-Type" => "application/json")
      request.body = body ? JSON.generate(body) : ""
      # The pool itself answers within a minute. A proxy of the caller's has no part in this.
      response = Net::HTTP.start(uri.host, uri.port, nil, read_timeout: 90) { |http| http.request(request) }
      text = response.body.to_s
      return text.empty? ? nil : JSON.parse(text) if response.is_a?(Net::HTTPSuccess)

      raise Refused.new(response.code.to_i, message(text))
    rescue SystemCallError, IOError, Timeout::Error => error
      # The address has a secret in it.
      raise Refused.new(0, "no answer (#{error.class}); has `testbed run` ended?")
    end

    private

    def message(text)
      JSON.parse(text).fetch("message")
    rescue JSON::ParserError, KeyError, TypeError
      text
    end

    def start
      raise @failure if @failure

      args = ["run", "-q", *(run || (settings? ? ["--pool"] : ["--with", "postgres", "--pool"]))]
      told = Tempfile.create("testbed")
      File.unlink(told.path)
      standing, @held = IO.pipe
      answer, output = IO.pipe
      # A run around this that serves no pool has nothing to do with this one. Ctrl-C is for the tests.
      pid = spawn({ "TESTBED_RUN_ID" => nil }, "testbed", *args, "--", *HOLDER, in: standing, out: output, err: told, pgroup: true)
      [standing, output].each(&:close)
      url = answer.gets.to_s.strip
      return url unless url.empty?

      _, status = Process.wait2(pid)
      told.rewind
      raise Error, "testbed #{args.join(" ")} ended with #{status.exitstatus}:\n#{told.read}"
    rescue Errno::ENOENT
      raise(@failure = Error.new(MISSING))
    rescue Error => failure
      raise(@failure = failure)
    end

    # Whether testbed finds a file here that says which databases the project has.
    def settings?
      folder = Dir.pwd
      loop do
        return true if %w[testbed.yaml testbed.yml].any? { |name| File.exist?(File.join(folder, name)) }
        return false if File.exist?(File.join(folder, ".git")) || folder == File.dirname(folder)

        folder = File.dirname(folder)
      end
    end
  end
end
