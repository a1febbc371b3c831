// Package migrations holds the schema, one migration after another.
package migrations

import "embed"

// Files are what goose runs.
//
//go:embed *.sql
var Files embed.FS
