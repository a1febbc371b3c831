# In another database, where no foreign key leads.
class Booking < BooksRecord
end
