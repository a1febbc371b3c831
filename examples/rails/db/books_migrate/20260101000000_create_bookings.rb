class CreateBookings < ActiveRecord::Migration[6.1]
  def change
    create_table :bookings do |t|
      t.bigint :ticket_id, null: false, index: { unique: true }
      t.string :visitor, null: false
      t.decimal :amount, precision: 8, scale: 2, null: false
    end
  end
end
