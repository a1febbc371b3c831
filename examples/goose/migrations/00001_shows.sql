-- +goose Up
CREATE TABLE shows (
    id INTEGER PRIMARY KEY,
    title TEXT NOT NULL,
    seats INTEGER NOT NULL
);

-- +goose Down
DROP TABLE shows;
