package boxoffice

import (
	"context"
	"database/sql"
	"errors"
	"os"
	"reflect"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/go-sql-driver/mysql"
	_ "github.com/lib/pq"
)

var offices = map[string]*Office{}

// TestMain opens the databases that testbed has started, and makes empty tables.
func TestMain(m *testing.M) {
	config := mysql.NewConfig()
	config.Net, config.Addr = "tcp", os.Getenv("MARIADB_HOST")+":"+os.Getenv("MARIADB_PORT")
	config.User, config.Passwd = os.Getenv("MARIADB_USER"), os.Getenv("MARIADB_PASSWORD")
	config.DBName = os.Getenv("MARIADB_DATABASE")
	offices["postgres"] = &Office{DB: open("postgres", os.Getenv("POSTGRES_URL")), Dollars: true}
	offices["mariadb"] = &Office{DB: open("mysql", config.FormatDSN())}
	for _, office := range offices {
		if _, err := office.DB.Exec("DROP TABLE IF EXISTS tickets, concerts"); err != nil {
			panic(err)
		}
		if err := office.Migrate(context.Background()); err != nil {
			panic(err)
		}
	}
	os.Exit(m.Run())
}

func open(driver, source string) *sql.DB {
	db, err := sql.Open(driver, source)
	if err != nil {
		panic(err)
	}
	return db
}

// onEach runs a test on each database, with a concert of its own.
func onEach(t *testing.T, capacity int, test func(t *testing.T, office *Office, concert string)) {
	for name, office := range offices {
		office := office
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if err := office.Open(context.Background(), t.Name(), capacity); err != nil {
				t.Fatal(err)
			}
			test(t, office, t.Name())
		})
	}
}

func TestTicketsAreSoldUntilThereAreNone(t *testing.T) {
	onEach(t, 2, func(t *testing.T, office *Office, concert string) {
		ctx := context.Background()
		visitors := []string{"O'Brien\"; DROP TABLE tickets; --", "Zoë Ångström 🎺"}
		for _, visitor := range visitors {
			if err := office.Sell(ctx, concert, visitor); err != nil {
				t.Fatal(err)
			}
		}
		if err := office.Sell(ctx, concert, "Edsger"); !errors.Is(err, ErrSoldOut) {
			t.Errorf("a third ticket: %v", err)
		}
		if found, err := office.Visitors(ctx, concert); err != nil || !reflect.DeepEqual(found, visitors) {
			t.Errorf("%q, %v", found, err)
		}
	})
}

func TestNobodyGetsTwoTickets(t *testing.T) {
	onEach(t, 2, func(t *testing.T, office *Office, concert string) {
		ctx := context.Background()
		if err := office.Sell(ctx, concert, "Ada"); err != nil {
			t.Fatal(err)
		}
		if err := office.Sell(ctx, concert, "Ada"); err == nil || errors.Is(err, ErrSoldOut) {
			t.Errorf("a second ticket for Ada: %v", err)
		}
	})
}

func TestManySellersNeverSellTooMuch(t *testing.T) {
	onEach(t, 10, func(t *testing.T, office *Office, concert string) {
		var sellers sync.WaitGroup
		var sold int32
		for seller := 0; seller < 4; seller++ {
			sellers.Add(1)
			go func(seller int) {
				defer sellers.Done()
				for visitor := 0; visitor < 5; visitor++ {
					name := "visitor " + strconv.Itoa(visitor) + " of seller " + strconv.Itoa(seller)
					switch err := office.Sell(context.Background(), concert, name); {
					case err == nil:
						atomic.AddInt32(&sold, 1)
					case !errors.Is(err, ErrSoldOut):
						t.Error(err)
					}
				}
			}(seller)
		}
		sellers.Wait()
		if sold != 10 {
			t.Errorf("%d tickets were sold", sold)
		}
	})
}
