require "active_record"

class Show < ActiveRecord::Base
  class SoldOut < StandardError; end

  has_many :tickets

  # One ticket; the lock makes other sellers wait.
  def sell(holder)
    with_lock do
      raise SoldOut, title if tickets.count >= seats

      tickets.create!(holder: holder)
    end
  end
end

class Ticket < ActiveRecord::Base
  belongs_to :show
end
