CREATE TABLE concerts (
    name VARCHAR(100) PRIMARY KEY,
    capacity INTEGER NOT NULL
);
CREATE TABLE tickets (
    concert VARCHAR(100) NOT NULL REFERENCES concerts (name),
    visitor VARCHAR(100) NOT NULL,
    PRIMARY KEY (concert, visitor)
);
