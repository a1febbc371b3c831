# This file is auto-generated from the current state of the database. Instead
# of editing this file, please use the migrations feature of Active Record to
# incrementally modify your database, and then regenerate this schema definition.
#
# This file is the source Rails uses to define your schema when running `bin/rails
# db:schema:load`. When creating a new database, `bin/rails db:schema:load` tends to
# be faster and is potentially less error prone than running all of your
# migrations from scratch. Old migrations may fail to apply correctly if those
# migrations use external dependencies or application code.
#
# It's strongly recommended that you check this file into your version control system.

ActiveRecord::Schema.define(version: 2026_01_01_000000) do

  # These are extensions that must be enabled in order to support this database
  enable_extension "plpgsql"

  create_table "concerts", force: :cascade do |t|
    t.string "name", null: false
    t.integer "capacity", null: false
    t.decimal "price", precision: 8, scale: 2, null: false
    t.index ["name"], name: "index_concerts_on_name", unique: true
  end

  create_table "tickets", force: :cascade do |t|
    t.bigint "concert_id", null: false
    t.string "visitor", null: false
    t.index ["concert_id", "visitor"], name: "index_tickets_on_concert_id_and_visitor", unique: true
    t.index ["concert_id"], name: "index_tickets_on_concert_id"
  end

  add_foreign_key "tickets", "concerts"
end
