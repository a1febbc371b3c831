"""https://github.com/tk0miya/testing.postgresql"""

import testing.postgresql

with testing.postgresql.Postgresql() as postgresql:
    postgresql.dsn()
