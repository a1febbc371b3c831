// Sells tickets for concerts, never more than there are.
import { readFile } from "node:fs/promises";
import mysql from "mysql2/promise";
import pg from "pg";

export class SoldOut extends Error {}

const statements = async () =>
  (await readFile(new URL("schema.sql", import.meta.url), "utf8")).split(";").filter((text) => text.trim());

/** In PostgreSQL, with pg. */
export class PostgresOffice {
  constructor(url) {
    this.pool = new pg.Pool({ connectionString: url });
  }

  async migrate() {
    for (const statement of await statements()) await this.pool.query(statement);
  }

  async open(concert, capacity) {
    await this.pool.query("INSERT INTO concerts VALUES ($1, $2)", [concert, capacity]);
  }

  /** One ticket; the lock makes other sellers wait. */
  async sell(concert, visitor) {
    const client = await this.pool.connect();
    try {
      await client.query("BEGIN");
      const { rows: [{ capacity }] } = await client.query("SELECT capacity FROM concerts WHERE name = $1 FOR UPDATE", [concert]);
      const { rows: [{ sold }] } = await client.query("SELECT count(*)::int AS sold FROM tickets WHERE concert = $1", [concert]);
      if (sold >= capacity) throw new SoldOut(concert);
      await client.query("INSERT INTO tickets VALUES ($1, $2)", [concert, visitor]);
      await client.query("COMMIT");
    } catch (error) {
      await client.query("ROLLBACK");
      throw error;
    } finally {
      client.release();
    }
  }

  async visitors(concert) {
    const { rows } = await this.pool.query("SELECT visitor FROM tickets WHERE concert = $1 ORDER BY visitor", [concert]);
    return rows.map(({ visitor }) => visitor);
  }

  close() {
    return this.pool.end();
  }
}

/** In MariaDB or MySQL, with mysql2. */
export class MysqlOffice {
  constructor(url) {
    this.pool = mysql.createPool(url);
  }

  async migrate() {
    for (const statement of await statements()) await this.pool.query(statement);
  }

  async open(concert, capacity) {
    await this.pool.execute("INSERT INTO concerts VALUES (?, ?)", [concert, capacity]);
  }

  /** One ticket; the lock makes other sellers wait. */
  async sell(concert, visitor) {
    const connection = await this.pool.getConnection();
    try {
      await connection.beginTransaction();
      const [[{ capacity }]] = await connection.execute("SELECT capacity FROM concerts WHERE name = ? FOR UPDATE", [concert]);
      const [[{ sold }]] = await connection.execute("SELECT count(*) AS sold FROM tickets WHERE concert = ?", [concert]);
      if (sold >= capacity) throw new SoldOut(concert);
      await connection.execute("INSERT INTO tickets VALUES (?, ?)", [concert, visitor]);
      await connection.commit();
    } catch (error) {
      await connection.rollback();
      throw error;
    } finally {
      connection.release();
    }
  }

  async visitors(concert) {
    const [rows] = await this.pool.execute("SELECT visitor FROM tickets WHERE concert = ? ORDER BY visitor", [concert]);
    return rows.map(({ visitor }) => visitor);
  }

  close() {
    return this.pool.end();
  }
}
