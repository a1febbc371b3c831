import assert from "node:assert/strict";
import { test } from "node:test";
import knex from "knex";
import { seed } from "testbed-client";
import config from "../knexfile.js";

const migrated = seed();

/** Calls a test with a database of its own, which has all migrations in it. */
const onFresh = (work) => () =>
  migrated.use(async ({ url }) => {
    const db = knex({ ...config, connection: url });
    try {
      await work(db);
    } finally {
      await db.destroy();
    }
  });

const sold = async (db) => (await db("tickets").count({ count: "*" }).first()).count;

test("the last migration is in", onFresh(async (db) => {
  const [{ name }] = await db("knex_migrations").orderBy("id", "desc").limit(1);
  assert.equal(name, "20260102000000_tickets.js");
}));

// Whichever is first, the other does not find its tickets.
for (const holder of ["Ophelia", "Horatio"]) {
  test(`${holder} buys all seats`, onFresh(async (db) => {
    await db("tickets").insert([1, 2].map((seat) => ({ show_id: 1, seat, holder })));
    assert.equal(await sold(db), "2");
  }));
}

test("a seat is sold once", onFresh(async (db) => {
  const sell = (holder) => db.transaction((trx) => trx("tickets").insert({ show_id: 1, seat: 1, holder }));
  const sales = await Promise.allSettled([sell("Ophelia"), sell("Horatio")]);
  assert.deepEqual(sales.map(({ status }) => status).sort(), ["fulfilled", "rejected"]);
  assert.equal(await sold(db), "1");
}));

test("tickets are for shows that there are", onFresh(async (db) => {
  await assert.rejects(db("tickets").insert({ show_id: 2, seat: 1, holder: "Ophelia" }), { code: "23503" });
}));
