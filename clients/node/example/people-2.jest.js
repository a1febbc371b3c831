import { people, query } from './people.js'

const database = people.each()

test.each(['Ada', 'Grace', 'Ada'])('whoever goes is missed by nobody else: %s', async (name) => {
  expect(await query(database(), 'SELECT name FROM people')).toHaveLength(2)
  await query(database(), `DELETE FROM people WHERE name = '${name}'`)
  expect(await query(database(), 'SELECT name FROM people')).toHaveLength(1)
})

test('a worker has one for itself', async () => {
  const own = await people.worker()
  await query(own, `CREATE TABLE IF NOT EXISTS worker_${process.env.JEST_WORKER_ID} ()`)
  const tables = await query(own, "SELECT tablename FROM pg_tables WHERE tablename LIKE 'worker%'")
  expect(tables).toHaveLength(1)
  expect(await people.worker()).toEqual(own)
})
