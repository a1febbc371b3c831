module example.com/shows

go 1.19

require (
	example.com/testbed v0.0.0
	github.com/lib/pq v1.10.9
	github.com/pressly/goose/v3 v3.15.1
)

replace example.com/testbed => ../../clients/go
