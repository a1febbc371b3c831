export const up = (knex) =>
  knex.schema.createTable("shows", (table) => {
    table.integer("id").primary();
    table.text("title").notNullable();
    table.integer("seats").notNullable();
  });

export const down = (knex) => knex.schema.dropTable("shows");
