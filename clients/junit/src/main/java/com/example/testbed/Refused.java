package com.example.testbed;

/** What the pool says that has not done what it was asked for. No answer at all is status 0. */
public final class Refused extends RuntimeException {
    private static final long serialVersionUID = 1;
    private final int status;

    Refused(int status, String message) {
        super(status == 0 ? message : "testbed's pool answers " + status + ": " + message);
        this.status = status;
    }

    public int status() {
        return status;
    }
}
