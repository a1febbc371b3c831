"""https://github.com/postgrespro/testgres"""

import testgres

with testgres.get_new_node() as node:
    node.init().start()
