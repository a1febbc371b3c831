class CreateShows < ActiveRecord::Migration[6.1]
  def change
    create_table :shows do |t|
      t.string :title, null: false, index: { unique: true }
      t.integer :seats, null: false
    end
  end
end
