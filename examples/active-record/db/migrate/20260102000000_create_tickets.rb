# Tickets, and a show to sell them for.
class CreateTickets < ActiveRecord::Migration[6.1]
  def change
    create_table :tickets do |t|
      t.references :show, null: false, foreign_key: true
      t.string :holder, null: false
      t.index [:show_id, :holder], unique: true
    end
    reversible do |direction|
      direction.up { execute "INSERT INTO shows (title, seats) VALUES ('Hamlet', 2)" }
      direction.down { execute "DELETE FROM shows" }
    end
  end
end
