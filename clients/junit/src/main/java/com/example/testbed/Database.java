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
    private final Map<String, Object> config;

    Database(Map<String, Object> config) {
        this.config = config;
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

    /** What libpq has to know besides: sslmode and sslrootcert, where the server takes TLS alone. */
    public Map<String, String> params() {
        Map<String, String> params = new TreeMap<>();
        if (config.get("additionalParams") instanceof Map<?, ?> given) {
            given.forEach((name, value) -> params.put(name.toString(), value.toString()));
        }
        return params;
    }

    /** What a driver connects to, without the login. */
    public String jdbcUrl() {
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
