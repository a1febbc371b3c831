Gem::Specification.new do |spec|
  spec.name = "testbed-client"
  spec.version = "0.1.0"
  spec.summary = "A fresh, migrated database for each test, by testbed: for Minitest and RSpec"
  spec.authors = ["testbed"]
  spec.license = "Apache-2.0"
  spec.files = Dir["lib/**/*.rb", "README.md", "LICENSE"]
  spec.required_ruby_version = ">= 2.7"
end
