CREATE TABLE tickets (
    show_id INTEGER NOT NULL REFERENCES shows (id),
    seat INTEGER NOT NULL,
    holder TEXT NOT NULL,
    PRIMARY KEY (show_id, seat)
);
INSERT INTO shows (id, title, seats) VALUES (1, 'Hamlet', 2);
