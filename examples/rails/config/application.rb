require_relative "boot"

require "rails"
require "active_record/railtie"
require "rails/test_unit/railtie"

Bundler.require(*Rails.groups)

module BoxOffice
  class Application < Rails::Application
    config.load_defaults 6.1
  end
end
