// Package boxoffice sells tickets for concerts, never more than there are.
package boxoffice

import (
	"context"
	"database/sql"
	_ "embed"
	"errors"
	"strconv"
	"strings"
)

// ErrSoldOut says that there are no tickets left.
var ErrSoldOut = errors.New("sold out")

//go:embed schema.sql
var schema string

// Office sells in one database, PostgreSQL or MariaDB.
type Office struct {
	DB *sql.DB
	// Dollars tells that placeholders are $1, $2 and so on.
	Dollars bool
}

// Migrate makes the tables.
func (o *Office) Migrate(ctx context.Context) error {
	for _, statement := range strings.Split(strings.TrimSpace(schema), ";\n") {
		if _, err := o.DB.ExecContext(ctx, statement); err != nil {
			return err
		}
	}
	return nil
}

// Open begins the sale for a concert.
func (o *Office) Open(ctx context.Context, concert string, capacity int) error {
	_, err := o.DB.ExecContext(ctx, o.sql("INSERT INTO concerts VALUES (?, ?)"), concert, capacity)
	return err
}

// Sell sells one ticket. The lock makes other sellers wait.
func (o *Office) Sell(ctx context.Context, concert, visitor string) error {
	tx, err := o.DB.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	var capacity, sold int
	row := tx.QueryRowContext(ctx, o.sql("SELECT capacity FROM concerts WHERE name = ? FOR UPDATE"), concert)
	if err := row.Scan(&capacity); err != nil {
		return err
	}
	row = tx.QueryRowContext(ctx, o.sql("SELECT count(*) FROM tickets WHERE concert = ?"), concert)
	if err := row.Scan(&sold); err != nil {
		return err
	}
	if sold >= capacity {
		return ErrSoldOut
	}
	if _, err := tx.ExecContext(ctx, o.sql("INSERT INTO tickets VALUES (?, ?)"), concert, visitor); err != nil {
		return err
	}
	return tx.Commit()
}

// Visitors has the visitors of a concert in the order of their names.
func (o *Office) Visitors(ctx context.Context, concert string) ([]string, error) {
	rows, err := o.DB.QueryContext(ctx, o.sql("SELECT visitor FROM tickets WHERE concert = ? ORDER BY visitor"), concert)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var visitors []string
	for rows.Next() {
		var visitor string
		if err := rows.Scan(&visitor); err != nil {
			return nil, err
		}
		visitors = append(visitors, visitor)
	}
	return visitors, rows.Err()
}

// sql has the placeholders as the database's driver wants them.
func (o *Office) sql(query string) string {
	for n := 1; o.Dollars && strings.Contains(query, "?"); n++ {
		query = strings.Replace(query, "?", "$"+strconv.Itoa(n), 1)
	}
	return query
}
