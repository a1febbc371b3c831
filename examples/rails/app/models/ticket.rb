class Ticket < ApplicationRecord
  belongs_to :concert
end
