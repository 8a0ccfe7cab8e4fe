#!/bin/sh
# For the database's container, at its first start: the roles' passwords from secret files. They are read by psql, and stand in no command line.
set -eu
for role in owner app; do
    eval "file=\$AISOC_$(echo "$role" | tr '[:lower:]' '[:upper:]')_PASSWORD_FILE"
    psql -v ON_ERROR_STOP=1 -q -U postgres -d "$POSTGRES_DB" <<SQL
\set password \`cat "$file"\`
ALTER ROLE aisoc_$role PASSWORD :'password';
SQL
done
