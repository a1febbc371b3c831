class BooksRecord < ActiveRecord::Base
  self.abstract_class = true

  connects_to database: { writing: :books, reading: :books }
end
