package boxoffice;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.sql.Connection;
import java.sql.SQLException;
import java.util.ArrayList;
import java.util.List;

/** Sells tickets for concerts, never more than there are, in any database that JDBC knows. */
public final class BoxOffice {
    /** There are no tickets left. */
    public static final class SoldOut extends Exception {
        SoldOut(String concert) {
            super(concert);
        }
    }

    private final Connection connection;

    public BoxOffice(Connection connection) throws SQLException {
        this.connection = connection;
        connection.setAutoCommit(false);
    }

    /** Makes the tables. */
    public static void migrate(Connection connection) throws SQLException, IOException {
        try (var schema = BoxOffice.class.getResourceAsStream("/schema.sql"); var statement = connection.createStatement()) {
            for (var sql : new String(schema.readAllBytes(), StandardCharsets.UTF_8).strip().split(";")) {
                statement.execute(sql);
            }
        }
    }

    public void open(String concert, int capacity) throws SQLException {
        try (var insert = connection.prepareStatement("INSERT INTO concerts VALUES (?, ?)")) {
            insert.setString(1, concert);
            insert.setInt(2, capacity);
            insert.executeUpdate();
        }
        connection.commit();
    }

    /** One ticket; the lock makes other sellers wait. */
    public void sell(String concert, String visitor) throws SQLException, SoldOut {
        try (var insert = connection.prepareStatement("INSERT INTO tickets VALUES (?, ?)")) {
            int capacity = number("SELECT capacity FROM concerts WHERE name = ? FOR UPDATE", concert);
            if (number("SELECT count(*) FROM tickets WHERE concert = ?", concert) >= capacity) {
                throw new SoldOut(concert);
            }
            insert.setString(1, concert);
            insert.setString(2, visitor);
            insert.executeUpdate();
            connection.commit();
        } finally {
            connection.rollback();
        }
    }

    public List<String> visitors(String concert) throws SQLException {
        var visitors = new ArrayList<String>();
        try (var query = connection.prepareStatement("SELECT visitor FROM tickets WHERE concert = ? ORDER BY visitor")) {
            query.setString(1, concert);
            var rows = query.executeQuery();
            while (rows.next()) {
                visitors.add(rows.getString(1));
            }
        }
        connection.commit();
        return visitors;
    }

    private int number(String sql, String concert) throws SQLException {
        try (var query = connection.prepareStatement(sql)) {
            query.setString(1, concert);
            var rows = query.executeQuery();
            rows.next();
            return rows.getInt(1);
        }
    }
}
