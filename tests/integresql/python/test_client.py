"""What IntegreSQL's documentation promises, asked for by its client for Python, which is unchanged."""

import concurrent.futures
import os
import tempfile
import unittest
from pathlib import Path

import psycopg2
import pymysql
from integresql_client_python import IntegreSQL, errors


def query(database, sql):
    if os.environ["ENGINE"] == "mariadb":
        return query_mariadb(database, sql)
    connection = psycopg2.connect(
        host=database.host, port=database.port, user=database.user, password=database.password, dbname=database.name
    )
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute(sql)
            return cursor.fetchall() if cursor.description else []
    finally:
        connection.close()


def query_mariadb(database, sql):
    connection = pymysql.connect(
        host=database.host,
        port=database.port,
        user=database.user,
        password=database.password,
        database=database.name,
        autocommit=True,
        client_flag=pymysql.constants.CLIENT.MULTI_STATEMENTS,
    )
    with connection, connection.cursor() as cursor:
        cursor.execute(sql)
        return list(cursor.fetchall())


# A MariaDB's database has the same name in each of its servers.
def place(database):
    return database.port, database.name


class Client(unittest.TestCase):
    def setUp(self):
        # What a template's hash is made of.
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        Path(folder.name, "1.sql").write_text(self.id())
        self.folder = folder.name
        self.client = IntegreSQL(self.folder)
        self.addCleanup(self.client.close)

    def make(self):
        with self.client as template, template.initialize() as database:
            query(database, "CREATE TABLE people (name text); INSERT INTO people VALUES ('Ada')")
        self.client = IntegreSQL(self.folder)

    def get(self):
        return self.client.get_template().get_database().open()

    def test_each_test_has_its_own_copy(self):
        self.make()
        one, other = self.get(), self.get()
        self.assertNotEqual(place(one), place(other))
        query(one, "DELETE FROM people")
        self.assertEqual(query(one, "SELECT * FROM people"), [])
        self.assertEqual(query(other, "SELECT * FROM people"), [("Ada",)])

    def test_a_template_is_made_once(self):
        def work(_):
            client = IntegreSQL(self.folder)
            template = client.get_template().initialize()
            if template.dbinfo:
                query(template.dbinfo, "CREATE TABLE once (n int)")
                template.finalize()
            database = template.get_database().open()
            client.close()
            return bool(template.dbinfo), place(database), query(database, "SELECT * FROM once")

        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            done = list(pool.map(work, range(16)))
        self.assertEqual(sum(made for made, _, _ in done), 1)
        self.assertEqual(len({name for _, name, _ in done}), 16)

    def test_what_is_unmodified_may_come_again(self):
        self.make()
        database = self.get()
        self.client.get_template().get_database().mark_unmodified(database)
        self.assertEqual(place(self.get()), place(database))

    def test_a_set_up_that_fails_is_discarded(self):
        template = self.client.get_template().initialize()
        template.discard()
        with self.assertRaises(errors.DatabaseDiscarded):
            self.get()
        self.make()
        self.assertEqual(query(self.get(), "SELECT * FROM people"), [("Ada",)])

    def test_what_nobody_has_initialised_is_not_there(self):
        with self.assertRaises(errors.TemplateNotFound):
            self.get()
        with self.assertRaises(errors.TemplateNotFound):
            self.client.get_template().finalize()
        with self.assertRaises(errors.TemplateNotFound):
            self.client.get_template().discard()

    # The last in the order of the names: it forgets the templates of all others.
    def test_z_all_are_forgotten(self):
        self.make()
        self.client.reset_all_tracking()
        with self.assertRaises(errors.TemplateNotFound):
            self.get()


if __name__ == "__main__":
    unittest.main()
