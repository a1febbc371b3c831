package com.example.testbed;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.nio.file.Files;
import java.nio.file.Path;
import java.sql.Connection;
import java.sql.SQLException;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.RepeatedTest;
import org.junit.jupiter.api.Test;

/** The example: each test has the people of the migrations, and nobody else's changes. */
@Testbed(migration = PeopleTest.Migrations.class, inputs = "src/test/resources/migrations")
class PeopleTest {
    private static final Set<String> SEEN = ConcurrentHashMap.newKeySet();

    static class Migrations implements Migration {
        @Override
        public void migrate(Database database) throws Exception {
            try (Connection connection = database.connect(); var statement = connection.createStatement()) {
                statement.execute(Files.readString(Path.of("src/test/resources/migrations/1-people.sql")));
            }
        }
    }

    static int count(Database database, String sql) throws SQLException {
        try (Connection connection = database.connect();
                var statement = connection.createStatement();
                var rows = statement.executeQuery(sql)) {
            rows.next();
            return rows.getInt(1);
        }
    }

    static void execute(Database database, String sql) throws SQLException {
        try (Connection connection = database.connect(); var statement = connection.createStatement()) {
            statement.execute(sql);
        }
    }

    private String seenBefore;

    @BeforeEach
    void look(Database database) {
        seenBefore = database.name();
    }

    @RepeatedTest(4)
    void whoeverGoesIsMissedByNobodyElse(Database database) throws SQLException {
        assertEquals(seenBefore, database.name(), "one database for a test, whoever takes it");
        assertEquals(true, SEEN.add(database.name()), "nobody else's");
        assertEquals(2, count(database, "SELECT count(*) FROM people"));
        execute(database, "DELETE FROM people WHERE name = 'Ada'");
        assertEquals(1, count(database, "SELECT count(*) FROM people"));
    }

    @Test
    void nothingPrintsThePassword(Database database) {
        assertEquals(false, database.toString().contains(database.password()));
        assertEquals(false, database.jdbcUrl().contains(database.password()));
        assertEquals(database.password(), database.environment().get("PGPASSWORD"));
    }
}
