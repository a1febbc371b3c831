"""https://github.com/tk0miya/testing.mysqld"""

import testing.mysqld

with testing.mysqld.Mysqld() as mysqld:
    mysqld.dsn()
