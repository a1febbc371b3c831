package shows;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import com.example.testbed.Database;
import com.example.testbed.Migration;
import com.example.testbed.Testbed;
import java.sql.Connection;
import java.sql.SQLException;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Each test has a database of its own, with all migrations in it. */
@Testbed(migration = Migration.Seed.class)
class TicketsTest {
    private static String ask(Connection connection, String sql) throws SQLException {
        try (var statement = connection.createStatement();
                var rows = statement.executeQuery(sql)) {
            rows.next();
            return rows.getString(1);
        }
    }

    private static void sell(Connection connection, int show, int seat, String holder) throws SQLException {
        try (var insert = connection.prepareStatement("INSERT INTO tickets VALUES (?, ?, ?)")) {
            insert.setInt(1, show);
            insert.setInt(2, seat);
            insert.setString(3, holder);
            insert.executeUpdate();
        }
    }

    @Test
    void theLastMigrationIsIn(Database database) throws SQLException {
        try (var connection = database.connect()) {
            assertEquals("2", ask(connection, "SELECT max(version) FROM flyway_schema_history WHERE success"));
        }
    }

    /** Whichever is first, the other does not find its tickets. */
    @ParameterizedTest
    @ValueSource(strings = {"Ophelia", "Horatio"})
    void allSeatsAreForOne(String holder, Database database) throws SQLException {
        try (var connection = database.connect()) {
            sell(connection, 1, 1, holder);
            sell(connection, 1, 2, holder);
            assertEquals("2", ask(connection, "SELECT count(*) FROM tickets"));
        }
    }

    @Test
    void aSeatIsSoldOnce(Database database) throws SQLException {
        try (var connection = database.connect()) {
            sell(connection, 1, 1, "Ophelia");
            var refused = assertThrows(SQLException.class, () -> sell(connection, 1, 1, "Horatio"));
            assertEquals("23505", refused.getSQLState());
        }
    }

    @Test
    void ticketsAreForShowsThatThereAre(Database database) throws SQLException {
        try (var connection = database.connect()) {
            var refused = assertThrows(SQLException.class, () -> sell(connection, 2, 1, "Ophelia"));
            assertEquals("23503", refused.getSQLState());
        }
    }
}
