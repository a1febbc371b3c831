import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { MysqlOffice, PostgresOffice, SoldOut } from "../box-office.js";

// What testbed says of its databases.
const { POSTGRES_URL, MARIADB_URL } = process.env;

for (const [name, Office, url] of [["pg", PostgresOffice, POSTGRES_URL], ["mysql2", MysqlOffice, MARIADB_URL]]) {
  describe(name, () => {
    let office;
    before(async () => {
      assert.ok(url, "no database: testbed run -- npm test");
      office = new Office(url);
      await office.pool.query("DROP TABLE IF EXISTS tickets, concerts");
      await office.migrate();
    });
    after(() => office?.close());

    it("sells tickets until there are none", async () => {
      const visitors = ["O'Brien\"; DROP TABLE tickets; --", "Zoë Ångström 🎺"];
      await office.open("Nina Simone", 2);
      for (const visitor of visitors) await office.sell("Nina Simone", visitor);
      await assert.rejects(office.sell("Nina Simone", "Edsger"), SoldOut);
      assert.deepEqual(await office.visitors("Nina Simone"), visitors);
    });

    it("sells nobody two tickets", async () => {
      await office.open("Björk", 2);
      await office.sell("Björk", "Ada");
      await assert.rejects(office.sell("Björk", "Ada"), /duplicate/i);
      assert.deepEqual(await office.visitors("Björk"), ["Ada"]);
    });

    it("never sells too much to many at a time", async () => {
      await office.open("Queen", 10);
      const visitors = Array.from({ length: 20 }, (_, number) => `visitor ${number}`);
      const results = await Promise.allSettled(visitors.map((visitor) => office.sell("Queen", visitor)));
      assert.equal(results.filter(({ status }) => status === "fulfilled").length, 10);
      for (const { reason } of results) if (reason) assert.ok(reason instanceof SoldOut, reason);
      assert.equal((await office.visitors("Queen")).length, 10);
    });
  });
}
