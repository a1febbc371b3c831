/** Tickets, one a seat, and a show to sell them for. */
export const up = async (knex) => {
  await knex.schema.createTable("tickets", (table) => {
    table.integer("show_id").references("shows.id");
    table.integer("seat");
    table.text("holder").notNullable();
    table.primary(["show_id", "seat"]);
  });
  await knex("shows").insert({ id: 1, title: "Hamlet", seats: 2 });
};

export const down = async (knex) => {
  await knex.schema.dropTable("tickets");
  await knex("shows").del();
};
