package boxoffice;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.SQLException;
import java.util.List;
import java.util.concurrent.Callable;
import java.util.concurrent.Executors;
import java.util.stream.IntStream;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

class BoxOfficeTest {
    /** Each driver with the database that testbed has started for it. */
    enum Driver {
        POSTGRESQL("postgresql", "POSTGRES"),
        MARIADB("mariadb", "MARIADB"),
        /** MySQL's Connector/J speaks to a MariaDB as well. */
        MYSQL("mysql", "MARIADB");

        private final String scheme;
        private final String database;

        Driver(String scheme, String database) {
            this.scheme = scheme;
            this.database = database;
        }

        Connection connect() throws SQLException {
            var url = "jdbc:" + scheme + "://" + said("HOST") + ":" + said("PORT") + "/" + said("DATABASE");
            return DriverManager.getConnection(url, said("USER"), said("PASSWORD"));
        }

        private String said(String what) {
            return System.getenv(database + "_" + what);
        }
    }

    @BeforeAll
    static void makeEmptyTables() throws Exception {
        for (var driver : List.of(Driver.POSTGRESQL, Driver.MARIADB)) {
            try (var connection = driver.connect(); var statement = connection.createStatement()) {
                statement.execute("DROP TABLE IF EXISTS tickets, concerts");
                BoxOffice.migrate(connection);
            }
        }
    }

    @ParameterizedTest
    @EnumSource
    void sellsTicketsUntilThereAreNone(Driver driver) throws Exception {
        var concert = "Nina Simone by " + driver;
        try (var connection = driver.connect()) {
            var office = new BoxOffice(connection);
            var visitors = List.of("O'Brien\"; DROP TABLE tickets; --", "Zoë Ångström 🎺");
            office.open(concert, visitors.size());
            for (var visitor : visitors) {
                office.sell(concert, visitor);
            }
            assertThrows(BoxOffice.SoldOut.class, () -> office.sell(concert, "Edsger"));
            assertEquals(visitors, office.visitors(concert));
        }
    }

    @ParameterizedTest
    @EnumSource
    void sellsNobodyTwoTickets(Driver driver) throws Exception {
        var concert = "Björk by " + driver;
        try (var connection = driver.connect()) {
            var office = new BoxOffice(connection);
            office.open(concert, 2);
            office.sell(concert, "Ada");
            var refusal = assertThrows(SQLException.class, () -> office.sell(concert, "Ada"));
            assertEquals("23", refusal.getSQLState().substring(0, 2), refusal::toString);
            assertEquals(List.of("Ada"), office.visitors(concert));
        }
    }

    @ParameterizedTest
    @EnumSource
    void neverSellsTooMuchToManyAtATime(Driver driver) throws Exception {
        var concert = "Queen by " + driver;
        try (var connection = driver.connect()) {
            var office = new BoxOffice(connection);
            office.open(concert, 10);
            var pool = Executors.newFixedThreadPool(4);
            var sellers = IntStream.range(0, 4).<Callable<Integer>>mapToObj(seller -> () -> sellFive(driver, concert, seller));
            var sold = 0;
            for (var result : pool.invokeAll(sellers.toList())) {
                sold += result.get();
            }
            pool.shutdown();
            assertEquals(10, sold);
            assertEquals(10, office.visitors(concert).size());
        }
    }

    /** How many of five tickets a seller with a connection of its own could sell. */
    private static int sellFive(Driver driver, String concert, int seller) throws SQLException {
        var sold = 0;
        try (var connection = driver.connect()) {
            var office = new BoxOffice(connection);
            for (; sold < 5; sold++) {
                office.sell(concert, "visitor " + sold + " of seller " + seller);
            }
        } catch (BoxOffice.SoldOut none) {
            return sold;
        }
        return sold;
    }
}
