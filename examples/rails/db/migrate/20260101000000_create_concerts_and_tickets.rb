class CreateConcertsAndTickets < ActiveRecord::Migration[6.1]
  def change
    create_table :concerts do |t|
      t.string :name, null: false, index: { unique: true }
      t.integer :capacity, null: false
      t.decimal :price, precision: 8, scale: 2, null: false
    end
    create_table :tickets do |t|
      t.references :concert, null: false, foreign_key: true
      t.string :visitor, null: false
      t.index [:concert_id, :visitor], unique: true
    end
  end
end
