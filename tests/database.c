#include "database.h"

#include <sqlite3.h>

int64_t ask_database(const struct service *service, const char *sql)
{
    sqlite3 *connection;
    sqlite3_stmt *statement;
    int64_t answer = 0;
    const char *path = textf("%s/state/autodl/autodl.db", service->dir);
    ck_assert_int_eq(sqlite3_open_v2(path, &connection, SQLITE_OPEN_READWRITE, NULL), SQLITE_OK);
    ck_assert_int_eq(sqlite3_prepare_v2(connection, sql, -1, &statement, NULL), SQLITE_OK);
    if (sqlite3_step(statement) == SQLITE_ROW)
        answer = sqlite3_column_int64(statement, 0);
    ck_assert_int_eq(sqlite3_finalize(statement), SQLITE_OK);
    ck_assert_int_eq(sqlite3_close(connection), SQLITE_OK);
    return answer;
}
