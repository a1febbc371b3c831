package com.example.testbed;

import java.net.URLEncoder;
import java.nio.charset.StandardCharsets;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.SQLException;
import java.util.Map;
import java.util.TreeMap;
import java.util.stream.Collectors;

/** A database and its login. Nothing that prints it shows the password. */
public final class Database {
    /** What the pool answers. IntegreSQL's own server tells the config alone, and has PostgreSQL alone. */
    private final Map<String, Object> told;

    private final Map<String, Object> config;

    @SuppressWarnings("unchecked")
    Database(Map<String, Object> told) {
        this.told = told;
        this.config = (Map<String, Object>) told.get("config");
    }

    /** {@code postgres}, {@code mariadb} or {@code mysql}. */
    public String engine() {
        return String.valueOf(told.getOrDefault("engine", "postgres"));
    }

    public String host() {
        return text("host");
    }

    public int port() {
        return ((Number) config.get("port")).intValue();
    }

    public String user() {
        return text("username");
    }

    public String password() {
        return text("password");
    }

    public String name() {
        return text("database");
    }

    /**
     * What clients have to know besides where the server takes TLS alone: libpq sslmode and sslrootcert, those of
     * MariaDB and MySQL ssl-mode and ssl-ca.
     */
    public Map<String, String> params() {
        return texts(config.get("additionalParams"));
    }

    private static Map<String, String> texts(Object told) {
        Map<String, String> texts = new TreeMap<>();
        if (told instanceof Map<?, ?> given) {
            given.forEach((name, value) -> texts.put(name.toString(), String.valueOf(value)));
        }
        return texts;
    }

    /** What a driver connects to, without the login. */
    public String jdbcUrl() {
        if (told.get("jdbcUrl") instanceof String url) {
            return url;
        }
        String query = params().entrySet().stream()
                .map(entry -> entry.getKey() + "=" + URLEncoder.encode(entry.getValue(), StandardCharsets.UTF_8))
                .collect(Collectors.joining("&"));
        return "jdbc:postgresql://" + host() + ":" + port() + "/" + name() + (query.isEmpty() ? "" : "?" + query);
    }

    /** A connection by the driver of the class path. */
    public Connection connect() throws SQLException {
        return DriverManager.getConnection(jdbcUrl(), user(), password());
    }

    /** The variables that lead a command to this database. */
    public Map<String, String> environment() {
        Map<String, String> given = texts(told.get("environment"));
        if (!given.isEmpty()) {
            return given;
        }
        Map<String, String> environment = new TreeMap<>(Map.of(
                "PGHOST", host(), "PGPORT", String.valueOf(port()), "PGUSER", user(),
                "PGPASSWORD", password(), "PGDATABASE", name()));
        Map<String, String> params = params();
        Map.of("sslmode", "PGSSLMODE", "sslrootcert", "PGSSLROOTCERT").forEach((param, variable) -> {
            if (params.containsKey(param)) {
                environment.put(variable, params.get(param));
            }
        });
        return environment;
    }

    @Override
    public String toString() {
        return user() + "@" + host() + ":" + port() + "/" + name();
    }

    private String text(String key) {
        return String.valueOf(config.get(key));
    }
}
