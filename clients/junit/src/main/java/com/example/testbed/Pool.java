package com.example.testbed;

import com.fasterxml.jackson.jr.ob.JSON;
import java.io.BufferedReader;
import java.io.File;
import java.io.IOException;
import java.io.InputStreamReader;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse;
import java.net.http.HttpResponse.BodyHandlers;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;

/** The pool around the tests, or one that is started for them and ends with this process. */
final class Pool {
    private static final String VARIABLE = "INTEGRESQL_CLIENT_BASE_URL";
    private static final String MISSING = "testbed is not in PATH, and " + VARIABLE + " is not set. Build testbed from"
            + " its repository (`make build` makes target/release/testbed) and put it into PATH, or run the tests in"
            + " `testbed run --with postgres --pool -- mvn test`";
    /** It stays until nobody has the other end of its standard input any more: also where this process is killed. */
    private static final List<String> HOLDER = List.of("sh", "-c", "echo \"$" + VARIABLE + "\"; exec cat >/dev/null");

    private static Pool around;
    private static RuntimeException why;

    private final String address;
    private final HttpClient client = HttpClient.newHttpClient();
    /** What was started, with its pipes. */
    @SuppressWarnings("unused")
    private final Process held;

    private Pool(String address, Process held) {
        this.address = address;
        this.held = held;
    }

    static synchronized Pool around(String[] run) {
        if (why != null) {
            throw why;
        }
        if (around == null) {
            String given = System.getenv(VARIABLE);
            try {
                around = given != null && !given.isEmpty() ? new Pool(given, null) : start(run);
            } catch (IOException | IllegalStateException error) {
                why = new IllegalStateException(error.getMessage());
                throw why;
            }
        }
        return around;
    }

    private static Pool start(String[] run) throws IOException {
        if (!isInPath("testbed")) {
            throw new IllegalStateException(MISSING);
        }
        List<String> command = new ArrayList<>(List.of("testbed", "run", "-q"));
        command.addAll(run.length > 0 ? List.of(run) : defaults());
        String called = String.join(" ", command);
        command.add("--");
        command.addAll(HOLDER);
        // A file, and not this process's own standard error, whose end Maven waits for.
        File told = File.createTempFile("testbed-", ".log");
        try {
            ProcessBuilder builder = new ProcessBuilder(command).redirectError(told);
            // A run around this that serves no pool has nothing to do with the one that is started.
            builder.environment().remove("TESTBED_RUN_ID");
            Process process = builder.start();
            String address = new BufferedReader(
                    new InputStreamReader(process.getInputStream(), StandardCharsets.UTF_8)).readLine();
            if (address != null && !address.isBlank()) {
                return new Pool(address.strip(), process);
            }
            int code = process.waitFor();
            throw new IllegalStateException(
                    called + " has ended (exit code " + code + "):\n" + Files.readString(told.toPath()));
        } catch (InterruptedException interrupted) {
            Thread.currentThread().interrupt();
            throw new IOException("interrupted while testbed starts", interrupted);
        } finally {
            Files.deleteIfExists(told.toPath());
        }
    }

    private static boolean isInPath(String program) {
        String path = System.getenv("PATH");
        for (String folder : path == null ? new String[0] : path.split(File.pathSeparator)) {
            if (Files.isExecutable(Path.of(folder, program))) {
                return true;
            }
        }
        return false;
    }

    private static List<String> defaults() {
        for (Path folder = Path.of("").toAbsolutePath(); folder != null; folder = folder.getParent()) {
            if (Files.exists(folder.resolve("testbed.yaml")) || Files.exists(folder.resolve("testbed.yml"))) {
                return List.of("--pool");
            }
            if (Files.exists(folder.resolve(".git"))) {
                break;
            }
        }
        return List.of("--with", "postgres", "--pool");
    }

    /** Asks, and tells what the answer has; nothing where it has nothing. */
    Map<String, Object> ask(String method, String path, Map<String, String> body) {
        try {
            String content = body == null ? "" : JSON.std.asString(body);
            HttpRequest request = HttpRequest.newBuilder(URI.create(address + "/v1" + path))
                    .header("Content-Type", "application/json")
                    .method(method, BodyPublishers.ofString(content))
                    .build();
            HttpResponse<String> response = client.send(request, BodyHandlers.ofString());
            boolean isDone = response.statusCode() < 300;
            Map<String, Object> answer = answer(response.body(), isDone);
            if (!isDone) {
                throw new Refused(
                        response.statusCode(), String.valueOf(answer.getOrDefault("message", response.body())));
            }
            return answer;
        } catch (IOException error) {
            // The address has a secret in it: only the kind is told.
            throw new Refused(
                    0, "no answer (" + error.getClass().getSimpleName() + "); has `testbed run` ended?");
        } catch (InterruptedException error) {
            Thread.currentThread().interrupt();
            throw new Refused(0, "interrupted while testbed's pool is asked");
        }
    }

    private static Map<String, Object> answer(String text, boolean isDone) throws IOException {
        try {
            return text.isBlank() ? Map.of() : JSON.std.mapFrom(text);
        } catch (IOException error) {
            if (isDone) {
                throw error;
            }
            return Map.of();
        }
    }
}
