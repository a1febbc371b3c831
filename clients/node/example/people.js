import { execFileSync } from 'node:child_process'
import { readdirSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import pg from 'pg'
import { template } from 'testbed-client'

const migrations = fileURLToPath(new URL('migrations', import.meta.url))

export const people = template({
  inputs: [migrations],
  migrate: (database) => {
    for (const file of readdirSync(migrations).sort()) {
      const args = ['-qv', 'ON_ERROR_STOP=1', '-f', `${migrations}/${file}`]
      execFileSync('psql', args, { env: database.env })
    }
  },
})

export async function query(database, sql) {
  const client = new pg.Client({ connectionString: database.url })
  await client.connect()
  try {
    return (await client.query(sql)).rows
  } finally {
    await client.end()
  }
}
