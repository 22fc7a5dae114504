#include "store/store_sqlite.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/cleanup.h"

#define APPLICATION_ID  0x4175446c /* "AuDl", what file(1) sees */
#define BUSY_TIMEOUT_MS 5000

/* The states that task_state_ended() knows. They stand in partial indexes, and a query uses such an
 * index only if it repeats the condition to the letter. */
#define ENDED_STATES   "312" /* 1 << state, or'ed */
#define AT_REST_STATES "440" /* ended, or PAUSED */
#define UNFINISHED     "NOT " ENDED_STATES " >> state & 1"
#define ENDED          ENDED_STATES " >> state & 1"
#define AT_REST        AT_REST_STATES " >> state & 1"
static_assert(312 == (1 << TASK_FINISHED | 1 << TASK_FAILED | 1 << TASK_CLEARED |
                      1 << TASK_CANCELLED) &&
                  440 == (312 | 1 << TASK_PAUSED),
              "stored");

/* The same up to schema 4. For each IN, SQLite makes a table of its own, at each INSERT. */
#define UNFINISHED_4 "state NOT IN (3, 4, 5, 8)"
#define ENDED_4      "state IN (3, 4, 5, 8)"
static_assert(TASK_FINISHED == 3 && TASK_FAILED == 4 && TASK_CLEARED == 5 && TASK_CANCELLED == 8,
              "stored");

/* Its part file may be there, and is to be removed. */
#define STRAY "drop_part AND has_part"
/* The record ends, and then its part file has to go first. */
#define LEFT_OVER ENDED " AND has_part"

/* As long as a page of this file: more than SQLite keeps with the beginning of a record. */
#define PAGE_SIZE "4096"
#define PADDING   "zeroblob(" PAGE_SIZE ")"

#define HOST_KEY_SIZE "32"
static_assert(STORE_HOST_KEY_SIZE == 32, "stored");

/* migrations[n] leads from schema n to n + 1. What was released is never edited, only appended. */
static const char *const migrations[] = {
    "CREATE TABLE tasks ("
    "    row INTEGER PRIMARY KEY AUTOINCREMENT,"
    "    id TEXT NOT NULL UNIQUE,"
    "    uid INTEGER NOT NULL,"
    "    user TEXT NOT NULL,"
    "    url TEXT NOT NULL,"
    "    directory TEXT NOT NULL,"
    "    name TEXT NOT NULL,"
    "    state INTEGER NOT NULL,"
    "    admitted INTEGER NOT NULL,"
    "    has_part INTEGER NOT NULL,"
    "    created_at INTEGER NOT NULL,"
    "    started_at INTEGER NOT NULL,"
    "    ended_at INTEGER NOT NULL,"
    "    bytes_done INTEGER NOT NULL,"
    "    bytes_total INTEGER NOT NULL,"
    "    http_status INTEGER NOT NULL,"
    "    error_code TEXT,"
    "    error_message TEXT) STRICT;"
    "CREATE UNIQUE INDEX tasks_dest ON tasks (directory, name) WHERE admitted AND " UNFINISHED_4 ";"
    "CREATE INDEX tasks_unfinished ON tasks (row, uid, state) WHERE " UNFINISHED_4 ";"
    "CREATE TABLE pauses ("
    "    uid INTEGER PRIMARY KEY," /* -1: everybody */
    "    until INTEGER NOT NULL,"
    "    length INTEGER NOT NULL) STRICT;",

    /* What was added before this had names that were final. */
    "ALTER TABLE tasks ADD COLUMN if_exists INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE tasks ADD COLUMN name_is_final INTEGER NOT NULL DEFAULT 1;"
    "ALTER TABLE tasks ADD COLUMN retries INTEGER NOT NULL DEFAULT -1;"
    "ALTER TABLE tasks ADD COLUMN checksum TEXT;"
    "ALTER TABLE tasks ADD COLUMN headers TEXT;"
    "ALTER TABLE tasks ADD COLUMN attempts INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE tasks ADD COLUMN failures INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE tasks ADD COLUMN wait INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE tasks ADD COLUMN not_before INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE tasks ADD COLUMN written INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE tasks ADD COLUMN durable INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE tasks ADD COLUMN boot_id TEXT;"
    "ALTER TABLE tasks ADD COLUMN file_dev INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE tasks ADD COLUMN file_ino INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE tasks ADD COLUMN etag TEXT;"
    "ALTER TABLE tasks ADD COLUMN last_modified TEXT;"
    "CREATE INDEX tasks_ended ON tasks (ended_at) WHERE " ENDED_4 ";"
    "CREATE INDEX tasks_strays ON tasks (row, uid, state) WHERE state = 5 AND has_part;",

    /* Until then, those that a clear left were the only ones. */
    "ALTER TABLE tasks ADD COLUMN drop_part INTEGER NOT NULL DEFAULT 0;"
    "UPDATE tasks SET drop_part = 1 WHERE state = 5 AND has_part;"
    "DROP INDEX tasks_strays;"
    "CREATE INDEX tasks_strays ON tasks (row, uid, state) WHERE " STRAY ";"
    "DROP INDEX tasks_ended;"
    "CREATE INDEX tasks_ended ON tasks (ended_at, row, has_part) WHERE " ENDED_4 ";"
    "CREATE INDEX tasks_left_over ON tasks (row, ended_at) WHERE " ENDED_4 " AND has_part;",

    /* Secrets go into a table of their own. What is deleted is overwritten, but SQLite moves
     * records from page to page, and what it leaves behind then is not. Of a long record only the
     * beginning moves: here, nothing but padding. */
    "CREATE TABLE secrets ("
    "    row INTEGER PRIMARY KEY,"
    "    padding BLOB NOT NULL,"
    "    headers TEXT,"
    "    username TEXT,"
    "    password TEXT) STRICT;"
    "INSERT INTO secrets SELECT row, " PADDING ", headers, NULL, NULL FROM tasks"
    " WHERE headers IS NOT NULL AND state <> 3;"
    "UPDATE tasks SET headers = NULL WHERE headers IS NOT NULL;"
    "ALTER TABLE tasks DROP COLUMN headers;"
    "CREATE TRIGGER tasks_forget AFTER DELETE ON tasks"
    " BEGIN DELETE FROM secrets WHERE row = old.row; END;"
    "ALTER TABLE tasks ADD COLUMN was_global INTEGER NOT NULL DEFAULT 0;",

    /* What the queue has to know of a task, in one index; the others anew, since the conditions are
     * cheaper now. */
    "ALTER TABLE tasks ADD COLUMN priority INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE tasks ADD COLUMN host INTEGER NOT NULL DEFAULT 0;"
    "DROP INDEX tasks_dest;"
    "CREATE UNIQUE INDEX tasks_dest ON tasks (directory, name) WHERE admitted AND " UNFINISHED ";"
    "DROP INDEX tasks_ended;"
    "CREATE INDEX tasks_ended ON tasks (ended_at, row, has_part) WHERE " ENDED ";"
    "DROP INDEX tasks_left_over;"
    "CREATE INDEX tasks_left_over ON tasks (row, ended_at) WHERE " LEFT_OVER ";"
    "DROP INDEX tasks_unfinished;"
    "CREATE INDEX tasks_unfinished ON tasks (row, uid, state, priority, host, wait, not_before)"
    " WHERE " UNFINISHED ";"
    "CREATE TABLE host_key (key BLOB NOT NULL) STRICT;"
    "ALTER TABLE tasks ADD COLUMN label TEXT;"
    "ALTER TABLE tasks ADD COLUMN mirrors TEXT;"
    "ALTER TABLE tasks ADD COLUMN mirror INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE tasks ADD COLUMN rate_limit INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE tasks ADD COLUMN max_ranges INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE tasks ADD COLUMN after_id TEXT;"
    "ALTER TABLE tasks ADD COLUMN written_ranges TEXT;"
    "ALTER TABLE tasks ADD COLUMN durable_ranges TEXT;"
    "CREATE INDEX tasks_after ON tasks (after_id) WHERE after_id IS NOT NULL AND " UNFINISHED ";"
    "INSERT INTO host_key VALUES (randomblob(" HOST_KEY_SIZE "));"
    /* What lists are made from: one user's tasks; those at rest in one state, whose they are in the
     * index too. None changes with the states of a task that is on its way. */
    "CREATE INDEX tasks_user ON tasks (uid);"
    "CREATE INDEX tasks_rest ON tasks (state, row, uid) WHERE " AT_REST ";"
    /* Verbs for very many, which are done bit by bit. */
    "CREATE TABLE errands ("
    "    errand INTEGER PRIMARY KEY,"
    "    verb INTEGER NOT NULL," /* enum store_verb */
    "    states INTEGER NOT NULL,"
    "    done_at INTEGER NOT NULL,"
    "    rows BLOB NOT NULL) STRICT;", /* int64_t each, as this machine has them */
};
#define SCHEMA_VERSION ((int)(sizeof(migrations) / sizeof(migrations[0])))

/* The columns of a task, in the order of TASK_COLUMNS; its parameter is ?(column + 1). */
enum column {
    COLUMN_ROW,
    COLUMN_ID,
    COLUMN_UID,
    COLUMN_USER,
    COLUMN_URL,
    COLUMN_DIRECTORY,
    COLUMN_NAME,
    COLUMN_STATE,
    COLUMN_ADMITTED,
    COLUMN_HAS_PART,
    COLUMN_CREATED_AT,
    COLUMN_STARTED_AT,
    COLUMN_ENDED_AT,
    COLUMN_BYTES_DONE,
    COLUMN_BYTES_TOTAL,
    COLUMN_HTTP_STATUS,
    COLUMN_ERROR_CODE,
    COLUMN_ERROR_MESSAGE,
    COLUMN_IF_EXISTS,
    COLUMN_NAME_IS_FINAL,
    COLUMN_RETRIES,
    COLUMN_CHECKSUM,
    COLUMN_WAS_GLOBAL,
    COLUMN_ATTEMPTS,
    COLUMN_FAILURES,
    COLUMN_WAIT,
    COLUMN_NOT_BEFORE,
    COLUMN_WRITTEN,
    COLUMN_DURABLE,
    COLUMN_BOOT_ID,
    COLUMN_FILE_DEV,
    COLUMN_FILE_INO,
    COLUMN_ETAG,
    COLUMN_LAST_MODIFIED,
    COLUMN_DROP_PART,
    COLUMN_PRIORITY,
    COLUMN_HOST,
    COLUMN_LABEL,
    COLUMN_MIRRORS,
    COLUMN_MIRROR,
    COLUMN_RATE_LIMIT,
    COLUMN_MAX_RANGES,
    COLUMN_AFTER,
    COLUMN_WRITTEN_RANGES,
    COLUMN_DURABLE_RANGES,
};
#define TASK_COLUMNS                                                                               \
    "row, id, uid, user, url, directory, name, state, admitted, has_part, created_at, started_at," \
    " ended_at, bytes_done, bytes_total, http_status, error_code, error_message, if_exists,"       \
    " name_is_final, retries, checksum, was_global, attempts, failures, wait, not_before,"         \
    " written, durable, boot_id, file_dev, file_ino, etag, last_modified, drop_part, priority, "   \
    "host,"                                                                                        \
    " label, mirrors, mirror, rate_limit, max_ranges, after_id, written_ranges, durable_ranges"

/* As struct store_listed. */
#define LISTED "row, uid, state, priority, host, wait, not_before"

#define WAIT_START "4"
#define WAIT_AFTER "5"
static_assert(TASK_WAIT_NONE == 0 && TASK_WAIT_START == 4 && TASK_WAIT_AFTER == 5, "stored");

#define FROM_DEST                                                                                  \
    " FROM tasks INDEXED BY tasks_dest WHERE directory = ?1 AND name = ?2 AND admitted"            \
    " AND " UNFINISHED

/* Those of a range of rows that a filter lets through, from the newest on. */
#define LIST(from, where)                                                                          \
    "SELECT row FROM tasks " from " WHERE row <= ?1 AND row >= ?2 AND (?3 < 0 OR uid = ?3)"        \
    " AND ?4 >> state & 1" where                                                                   \
    " AND (?5 = 0 OR host = ?5) AND created_at < ?7 AND (ended_at = 0 OR ended_at >= ?6)"          \
    " AND (?8 IS NULL OR text_fits(?8, url, name, label, uid = ?9)) ORDER BY row DESC LIMIT ?10"

enum statement {
    BEGIN,
    BEGIN_READ,
    COMMIT,
    SAVEPOINT,
    BACK_TO_SAVEPOINT,
    RELEASE_SAVEPOINT,
    ADD,
    UPDATE,
    CHANGE,
    CHANGE_PLACE,
    ADD_SECRETS,
    WIPE_SECRETS,
    LOOK,
    CLEAR,
    HOLD_ONE,
    RELEASE_ONE,
    CANCEL_ONE,
    RETRY_ONE,
    BEGIN_ERRAND,
    END_ERRAND,
    FIRST_ERRAND,
    FORGET,
    COUNT_ENDED,
    FIRST_KEPT,
    PRUNE,
    LIST_LEFT_OVER,
    SET_PAUSE,
    END_PAUSE,
    FETCH,
    FETCH_SECRETS,
    FIND,
    FIND_IDS,
    DEST_TAKEN,
    FIND_DEST,
    LIST_UNFINISHED,
    LIST_STRAYS,
    LIST_DEPENDANTS,
    LIST_ANY,
    LIST_OF_USER,
    LIST_ON_THEIR_WAY,
    LIST_AT_REST,
    NEXT_ROW,
    NEXT_ROW_OF_USER,
    COUNT_AT_REST,
    UID_OF_USER,
    LIST_PAUSES,
    HOST_KEY,
    STATEMENTS, /* how many */
};

static const char *const statement_texts[STATEMENTS] = {
    [BEGIN] = "BEGIN IMMEDIATE",
    [BEGIN_READ] = "BEGIN",
    [COMMIT] = "COMMIT",
    [SAVEPOINT] = "SAVEPOINT many",
    [BACK_TO_SAVEPOINT] = "ROLLBACK TO many",
    [RELEASE_SAVEPOINT] = "RELEASE many",
    [ADD] = "INSERT INTO tasks (" TASK_COLUMNS ") VALUES (NULL, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9,"
            " ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21, ?22, ?23, ?24, ?25, ?26,"
            " ?27, ?28, ?29, ?30, ?31, ?32, ?33, ?34, ?35, ?36, ?37, ?38, ?39,"
            " ?40, ?41, ?42, ?43, ?44, ?45)",
    [UPDATE] = "UPDATE tasks SET directory = ?6, name = ?7, state = ?8, admitted = ?9,"
               " has_part = ?10, started_at = ?12, ended_at = ?13, bytes_done = ?14,"
               " bytes_total = ?15, http_status = ?16, error_code = ?17, error_message = ?18,"
               " if_exists = ?19, name_is_final = ?20, retries = ?21, checksum = ?22,"
               " was_global = ?23, attempts = ?24, failures = ?25, wait = ?26, not_before = ?27,"
               " written = ?28, durable = ?29, boot_id = ?30, file_dev = ?31, file_ino = ?32,"
               " etag = ?33, last_modified = ?34, drop_part = ?35, host = ?37,"
               " mirrors = ?39, mirror = ?40,"
               " after_id = ?43, written_ranges = ?44, durable_ranges = ?45"
               " WHERE row = ?1",
    [CHANGE] = "UPDATE tasks SET priority = ?2, label = ?3, rate_limit = ?4, max_ranges = ?5"
               " WHERE row = ?1",
    [CHANGE_PLACE] = "UPDATE tasks SET url = ?2, host = ?3, mirror = ?4, was_global = ?5,"
                     " failures = ?6, wait = ?7, not_before = ?8 WHERE row = ?1",
    [ADD_SECRETS] = "INSERT INTO secrets (row, padding, headers, username, password)"
                    " VALUES (?1, " PADDING ", ?2, ?3, ?4)",
    [WIPE_SECRETS] = "DELETE FROM secrets WHERE row = ?1",
    [FETCH_SECRETS] = "SELECT headers, username, password FROM secrets WHERE row = ?1",
    /* two cheap steps: with RETURNING, SQLite keeps a journal for each statement */
    [LOOK] = "SELECT state, has_part FROM tasks WHERE row = ?1",
    [CLEAR] = "UPDATE tasks SET state = ?2, ended_at = ?3, wait = 0, not_before = 0,"
              " drop_part = has_part WHERE row = ?1",
    [HOLD_ONE] = "UPDATE tasks SET state = ?2, error_code = NULL, error_message = NULL,"
                 " drop_part = 0 WHERE row = ?1",
    /* it waits for its own start and for nothing else */
    [RELEASE_ONE] = "UPDATE tasks SET state = ?2, (wait, not_before) = (SELECT CASE"
                    " WHEN after_id IS NOT NULL THEN " WAIT_AFTER " WHEN start <> 0 THEN " WAIT_START
                    " ELSE 0 END, start FROM (SELECT CASE WHEN wait IN (" WAIT_START ", " WAIT_AFTER
                    ") THEN not_before ELSE 0 END AS start)) WHERE row = ?1",
    [CANCEL_ONE] = "UPDATE tasks SET state = ?2, ended_at = ?3, error_code = NULL,"
                   " error_message = NULL, drop_part = has_part AND ?4 WHERE row = ?1",
    /* what is known of a mirror is not known of the first server */
    [RETRY_ONE] = "UPDATE tasks SET state = ?2, ended_at = 0, error_code = NULL,"
                  " error_message = NULL, failures = 0, admitted = 0, drop_part = 0, not_before = 0,"
                  " wait = CASE WHEN after_id IS NULL THEN 0 ELSE " WAIT_AFTER " END,"
                  " host = CASE mirror WHEN 0 THEN host ELSE 0 END,"
                  " etag = CASE mirror WHEN 0 THEN etag END, mirror = 0 WHERE row = ?1",
    [BEGIN_ERRAND] = "INSERT INTO errands (verb, states, done_at, rows) VALUES (?1, ?2, ?3, ?4)",
    [END_ERRAND] = "DELETE FROM errands WHERE errand = ?1",
    [FIRST_ERRAND] = "SELECT errand, verb, states, done_at, rows FROM errands"
                     " ORDER BY errand LIMIT 1",
    [FORGET] = "DELETE FROM tasks WHERE row = ?1",
    [COUNT_ENDED] = "SELECT count(*) FROM tasks INDEXED BY tasks_ended WHERE " ENDED,
    [FIRST_KEPT] = "SELECT ended_at, row FROM tasks INDEXED BY tasks_ended WHERE " ENDED
                   " ORDER BY ended_at, row LIMIT 1 OFFSET ?1",
    [PRUNE] = "DELETE FROM tasks WHERE row IN (SELECT row FROM tasks INDEXED BY tasks_ended"
              " WHERE " ENDED " AND NOT has_part AND (ended_at, row) < (?1, ?2)"
              /* what another one waits for, and has not heard of yet, stays */
              " AND NOT EXISTS (SELECT 1 FROM tasks AS dependant INDEXED BY tasks_after"
              " WHERE after_id = tasks.id AND " UNFINISHED ")"
              " ORDER BY ended_at, row LIMIT ?3)",
    [LIST_LEFT_OVER] = "SELECT row FROM tasks INDEXED BY tasks_left_over WHERE " LEFT_OVER
                       " AND row > ?3 AND (ended_at, row) < (?1, ?2) ORDER BY row LIMIT ?4",
    [SET_PAUSE] = "INSERT OR REPLACE INTO pauses (uid, until, length) VALUES (?1, ?2, ?3)",
    [END_PAUSE] = "DELETE FROM pauses WHERE uid = ?1",
    [FETCH] = "SELECT " TASK_COLUMNS " FROM tasks WHERE row = ?1",
    /* 'g' comes after every character of an id */
    [FIND] = "SELECT " TASK_COLUMNS " FROM tasks WHERE id >= ?1 AND id < ?1 || 'g'"
             " AND (?2 < 0 OR uid = ?2) LIMIT 2",
    [FIND_IDS] = "SELECT id FROM tasks WHERE id >= ?1 AND id < ?1 || 'g'"
                 " AND (?2 < 0 OR uid = ?2) ORDER BY id LIMIT ?3",
    [DEST_TAKEN] = "SELECT 1" FROM_DEST,
    [FIND_DEST] = "SELECT " TASK_COLUMNS FROM_DEST,
    [LIST_STRAYS] = "SELECT " LISTED " FROM tasks INDEXED BY tasks_strays WHERE row > ?1 AND " STRAY
                    " ORDER BY row LIMIT ?2",
    [LIST_UNFINISHED] = "SELECT " LISTED " FROM tasks INDEXED BY tasks_unfinished"
                        " WHERE row > ?1 AND " UNFINISHED " ORDER BY row LIMIT ?2",
    [LIST_DEPENDANTS] = "SELECT after_id, row FROM tasks INDEXED BY tasks_after"
                        " WHERE after_id IS NOT NULL AND " UNFINISHED
                        " AND (after_id, row) > (?1, ?2) ORDER BY after_id, row LIMIT ?3",
    [LIST_ANY] = LIST("NOT INDEXED", ""),
    [LIST_OF_USER] = LIST("INDEXED BY tasks_user", " AND uid = ?3"),
    [LIST_ON_THEIR_WAY] = LIST("INDEXED BY tasks_unfinished", " AND " UNFINISHED),
    [LIST_AT_REST] = LIST("INDEXED BY tasks_rest", " AND state = ?11 AND " AT_REST),
    [NEXT_ROW] = "SELECT max(row) FROM tasks WHERE row < ?1",
    [NEXT_ROW_OF_USER] = "SELECT max(row) FROM tasks INDEXED BY tasks_user"
                         " WHERE uid = ?2 AND row < ?1",
    [COUNT_AT_REST] = "SELECT state, count(*) FROM tasks INDEXED BY tasks_rest WHERE " AT_REST
                      " AND uid = ?1 GROUP BY state",
    /* from uid to uid, as many steps as there are users; the name is that of their newest task */
    [UID_OF_USER] =
        "WITH RECURSIVE users (uid) AS (SELECT min(uid) FROM tasks UNION ALL"
        " SELECT (SELECT min(uid) FROM tasks WHERE uid > users.uid) FROM users"
        " WHERE users.uid IS NOT NULL)"
        " SELECT uid FROM users WHERE uid IS NOT NULL AND ?1 = (SELECT user FROM tasks"
        " INDEXED BY tasks_user WHERE tasks.uid = users.uid ORDER BY row DESC LIMIT 1) LIMIT 1",
    [HOST_KEY] = "SELECT key FROM host_key",
    [LIST_PAUSES] = "SELECT uid, until, length FROM pauses ORDER BY uid",
};

struct database {
    sqlite3 *connection;
    sqlite3_stmt *statements[STATEMENTS];
    int64_t
        ended; /* how many tasks have; -1: not counted yet. The only writer keeps it up to date */
    int64_t ended_at_begin;
    int64_t
        left_over_until; /* the row that the last list of those ended with; 0: it was complete */
    bool wiped; /* something that may be secret was deleted, and is in the log still */
};

/* --- errors --- */

/* What the system said when the write-ahead log was last written in vain, or 0. */
static int log_errno(sqlite3 *connection)
{
    sqlite3_file *log = NULL;
    int error = 0;
    sqlite3_file_control(connection, "main", SQLITE_FCNTL_JOURNAL_POINTER, &log);
    if (log && log->pMethods)
        log->pMethods->xFileControl(log, SQLITE_FCNTL_LAST_ERRNO, &error);
    return error;
}

/* SQLite says "full" for ENOSPC alone. */
static int io_error_of(sqlite3 *connection, int code)
{
    if (code == SQLITE_IOERR_NOMEM)
        return -ENOMEM;
    if (code == SQLITE_IOERR_SHMSIZE)
        return -ENOSPC;
    int error = code == SQLITE_IOERR_WRITE ? log_errno(connection) : 0;
    return error == EDQUOT || error == EFBIG ? -ENOSPC : -EIO;
}

/* The errno of an SQLite result. */
static int error_of(sqlite3 *connection, int code)
{
    switch (code & 0xff) {
    case SQLITE_OK:
    case SQLITE_ROW:
    case SQLITE_DONE:
        return 0;
    case SQLITE_CONSTRAINT:
        return -EEXIST;
    case SQLITE_FULL:
        return -ENOSPC;
    case SQLITE_NOMEM:
        return -ENOMEM;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return -EBUSY;
    case SQLITE_ERROR: /* our fixed statements do not fit the tables */
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
        return -EUCLEAN;
    case SQLITE_IOERR:
        return io_error_of(connection, code);
    default:
        return -EIO;
    }
}

/* The same, with a sentence about it for whoever starts the service. */
static int explain(sqlite3 *connection, int code, const char *path, char message[static 256])
{
    int error = connection ? error_of(connection, code) : -ENOMEM;
    if (error == -EUCLEAN)
        snprintf(message, 256, "%s is damaged (%s); restore it from a backup or move it away", path,
                 sqlite3_errmsg(connection));
    else
        snprintf(message, 256, "cannot use the database %s: %s", path,
                 connection ? sqlite3_errmsg(connection) : "out of memory");
    return error;
}

/* --- statements --- */

/* Binding copies nothing and so cannot fail for what API.md lets in: the caller's strings must stay
 * until finish(). */
static void bind_int(sqlite3_stmt *statement, int parameter, int64_t value)
{
    int code = sqlite3_bind_int64(statement, parameter, value);
    assert(code == SQLITE_OK);
    (void)code;
}

static void bind_text(sqlite3_stmt *statement, int parameter, const char *text)
{
    int code = sqlite3_bind_text(statement, parameter, text, -1, SQLITE_STATIC);
    assert(code == SQLITE_OK);
    (void)code;
}

/* A scope of pauses or of look-ups: -1 for everybody. */
static void bind_scope(sqlite3_stmt *statement, int parameter, uid_t uid)
{
    bind_int(statement, parameter, uid == STORE_EVERYBODY ? -1 : (int64_t)uid);
}

static void bind_task_texts(sqlite3_stmt *statement, const struct task *task)
{
    assert(task->user && task->url && task->directory && task->name);
    bind_text(statement, COLUMN_ID + 1, task->id);
    bind_text(statement, COLUMN_USER + 1, task->user);
    bind_text(statement, COLUMN_URL + 1, task->url);
    bind_text(statement, COLUMN_DIRECTORY + 1, task->directory);
    bind_text(statement, COLUMN_NAME + 1, task->name);
    bind_text(statement, COLUMN_ERROR_CODE + 1, task->error_code);
    bind_text(statement, COLUMN_ERROR_MESSAGE + 1, task->error_message);
    bind_text(statement, COLUMN_CHECKSUM + 1, task->checksum);
    bind_text(statement, COLUMN_BOOT_ID + 1, task->boot_id);
    bind_text(statement, COLUMN_ETAG + 1, task->etag);
    bind_text(statement, COLUMN_LAST_MODIFIED + 1, task->last_modified);
    bind_text(statement, COLUMN_LABEL + 1, task->label);
    bind_text(statement, COLUMN_MIRRORS + 1, task->mirrors);
    bind_text(statement, COLUMN_AFTER + 1, task->after);
    bind_text(statement, COLUMN_WRITTEN_RANGES + 1, task->written_ranges);
    bind_text(statement, COLUMN_DURABLE_RANGES + 1, task->durable_ranges);
}

static void bind_task(sqlite3_stmt *statement, const struct task *task)
{
    bind_task_texts(statement, task);
    bind_int(statement, COLUMN_ROW + 1, task->row);
    bind_int(statement, COLUMN_UID + 1, task->uid);
    bind_int(statement, COLUMN_STATE + 1, task->state);
    bind_int(statement, COLUMN_ADMITTED + 1, task->admitted);
    bind_int(statement, COLUMN_HAS_PART + 1, task->has_part);
    bind_int(statement, COLUMN_DROP_PART + 1, task->drop_part);
    bind_int(statement, COLUMN_PRIORITY + 1, task->priority);
    bind_int(statement, COLUMN_HOST + 1, (int64_t)task->host);
    bind_int(statement, COLUMN_MIRROR + 1, task->mirror);
    bind_int(statement, COLUMN_RATE_LIMIT + 1, task->rate_limit);
    bind_int(statement, COLUMN_MAX_RANGES + 1, task->max_ranges);
    bind_int(statement, COLUMN_CREATED_AT + 1, task->created_at);
    bind_int(statement, COLUMN_STARTED_AT + 1, task->started_at);
    bind_int(statement, COLUMN_ENDED_AT + 1, task->ended_at);
    bind_int(statement, COLUMN_BYTES_DONE + 1, task->bytes_done);
    bind_int(statement, COLUMN_BYTES_TOTAL + 1, task->bytes_total);
    bind_int(statement, COLUMN_HTTP_STATUS + 1, task->http_status);
    bind_int(statement, COLUMN_IF_EXISTS + 1, task->if_exists);
    bind_int(statement, COLUMN_NAME_IS_FINAL + 1, task->name_is_final);
    bind_int(statement, COLUMN_RETRIES + 1, task->retries);
    bind_int(statement, COLUMN_WAS_GLOBAL + 1, task->was_global);
    bind_int(statement, COLUMN_ATTEMPTS + 1, task->attempts);
    bind_int(statement, COLUMN_FAILURES + 1, task->failures);
    bind_int(statement, COLUMN_WAIT + 1, task->wait);
    bind_int(statement, COLUMN_NOT_BEFORE + 1, task->not_before);
    bind_int(statement, COLUMN_WRITTEN + 1, task->written);
    bind_int(statement, COLUMN_DURABLE + 1, task->durable);
    bind_int(statement, COLUMN_FILE_DEV + 1, (int64_t)task->file_dev);
    bind_int(statement, COLUMN_FILE_INO + 1, (int64_t)task->file_ino);
}

/* 1: a row can be read; 0: no more rows; or an error. */
static int step(struct database *database, sqlite3_stmt *statement)
{
    int code = sqlite3_step(statement);
    return code == SQLITE_ROW ? 1 : error_of(database->connection, code);
}

/* Makes the statement ready for its next use, whatever came of this one. */
static int finish(sqlite3_stmt *statement, int result)
{
    sqlite3_reset(statement);
    sqlite3_clear_bindings(statement);
    return result;
}

/* For a statement without rows, or where it matters only whether there is one. */
static int run(struct database *database, sqlite3_stmt *statement)
{
    return finish(statement, step(database, statement));
}

/* NULL stays NULL. */
static int read_text(sqlite3_stmt *statement, int column, char **ret_text)
{
    if (sqlite3_column_type(statement, column) == SQLITE_NULL)
        return 0;
    const char *text = (const char *)sqlite3_column_text(statement, column);
    char *copy = text ? strdup(text) : NULL;
    if (!copy)
        return -ENOMEM;
    *ret_text = copy;
    return 0;
}

static int read_task_texts(sqlite3_stmt *statement, struct task *task)
{
    const struct {
        enum column column;
        char **text;
    } texts[] = {
        {COLUMN_USER,           &task->user          },
        {COLUMN_URL,            &task->url           },
        {COLUMN_DIRECTORY,      &task->directory     },
        {COLUMN_NAME,           &task->name          },
        {COLUMN_ERROR_CODE,     &task->error_code    },
        {COLUMN_ERROR_MESSAGE,  &task->error_message },
        {COLUMN_CHECKSUM,       &task->checksum      },
        {COLUMN_BOOT_ID,        &task->boot_id       },
        {COLUMN_ETAG,           &task->etag          },
        {COLUMN_LAST_MODIFIED,  &task->last_modified },
        {COLUMN_LABEL,          &task->label         },
        {COLUMN_MIRRORS,        &task->mirrors       },
        {COLUMN_AFTER,          &task->after         },
        {COLUMN_WRITTEN_RANGES, &task->written_ranges},
        {COLUMN_DURABLE_RANGES, &task->durable_ranges},
    };
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        int result = read_text(statement, texts[i].column, texts[i].text);
        if (result < 0)
            return result;
    }
    const char *id = (const char *)sqlite3_column_text(statement, COLUMN_ID);
    if (!id)
        return -ENOMEM;
    if (strlen(id) != API_ID_LENGTH)
        return -EUCLEAN;
    memcpy(task->id, id, API_ID_LENGTH + 1);
    return 0;
}

/* One of `count` words, as a number from 0. */
static int read_enum(sqlite3_stmt *statement, int column, int count, int *ret_value)
{
    int64_t value = sqlite3_column_int64(statement, column);
    if (value < 0 || value >= count)
        return -EUCLEAN;
    *ret_value = (int)value;
    return 0;
}

/* 0 or -EUCLEAN. */
static int read_priority(sqlite3_stmt *statement, int column, int *ret_priority)
{
    int64_t priority = sqlite3_column_int64(statement, column);
    if (priority < TASK_PRIORITY_MIN || priority > TASK_PRIORITY_MAX)
        return -EUCLEAN;
    *ret_priority = (int)priority;
    return 0;
}

static int read_state(sqlite3_stmt *statement, int column, enum task_state *ret_state)
{
    int state;
    int result = read_enum(statement, column, TASK_STATES, &state);
    if (result == 0)
        *ret_state = (enum task_state)state;
    return result;
}

static int read_task_enums(sqlite3_stmt *statement, struct task *task)
{
    int if_exists = 0, wait = 0;
    int result = read_state(statement, COLUMN_STATE, &task->state);
    if (result == 0)
        result = read_enum(statement, COLUMN_IF_EXISTS, TASK_OVERWRITE + 1, &if_exists);
    if (result == 0)
        result = read_enum(statement, COLUMN_WAIT, TASK_WAITS, &wait);
    if (result == 0)
        result = read_priority(statement, COLUMN_PRIORITY, &task->priority);
    task->if_exists = (enum task_if_exists)if_exists;
    task->wait = (enum task_wait)wait;
    return result;
}

static void read_task_numbers(sqlite3_stmt *statement, struct task *task)
{
    task->row = sqlite3_column_int64(statement, COLUMN_ROW);
    task->uid = (uid_t)sqlite3_column_int64(statement, COLUMN_UID);
    task->admitted = sqlite3_column_int64(statement, COLUMN_ADMITTED) != 0;
    task->has_part = sqlite3_column_int64(statement, COLUMN_HAS_PART) != 0;
    task->drop_part = sqlite3_column_int64(statement, COLUMN_DROP_PART) != 0;
    task->host = (uint64_t)sqlite3_column_int64(statement, COLUMN_HOST);
    task->mirror = sqlite3_column_int(statement, COLUMN_MIRROR);
    task->rate_limit = sqlite3_column_int64(statement, COLUMN_RATE_LIMIT);
    task->max_ranges = sqlite3_column_int(statement, COLUMN_MAX_RANGES);
    task->created_at = sqlite3_column_int64(statement, COLUMN_CREATED_AT);
    task->started_at = sqlite3_column_int64(statement, COLUMN_STARTED_AT);
    task->ended_at = sqlite3_column_int64(statement, COLUMN_ENDED_AT);
    task->bytes_done = sqlite3_column_int64(statement, COLUMN_BYTES_DONE);
    task->bytes_total = sqlite3_column_int64(statement, COLUMN_BYTES_TOTAL);
    task->http_status = sqlite3_column_int(statement, COLUMN_HTTP_STATUS);
    task->name_is_final = sqlite3_column_int64(statement, COLUMN_NAME_IS_FINAL) != 0;
    task->retries = sqlite3_column_int(statement, COLUMN_RETRIES);
    task->was_global = (uint32_t)sqlite3_column_int64(statement, COLUMN_WAS_GLOBAL);
    task->attempts = sqlite3_column_int(statement, COLUMN_ATTEMPTS);
    task->failures = sqlite3_column_int(statement, COLUMN_FAILURES);
    task->not_before = sqlite3_column_int64(statement, COLUMN_NOT_BEFORE);
    task->written = sqlite3_column_int64(statement, COLUMN_WRITTEN);
    task->durable = sqlite3_column_int64(statement, COLUMN_DURABLE);
    task->file_dev = (uint64_t)sqlite3_column_int64(statement, COLUMN_FILE_DEV);
    task->file_ino = (uint64_t)sqlite3_column_int64(statement, COLUMN_FILE_INO);
}

static int read_task(sqlite3_stmt *statement, struct task *ret_task)
{
    _cleanup_(task_release) struct task task = {0};
    int result = read_task_texts(statement, &task);
    if (result == 0)
        result = read_task_enums(statement, &task);
    if (result < 0)
        return result;
    read_task_numbers(statement, &task);
    *ret_task = task;
    task = (struct task){0};
    return 0;
}

/* --- the file and its schema --- */

/* The URLs in it are private; SQLite gives its -wal and -shm files the same mode. */
static int make_file(const char *path, char message[static 256])
{
    _cleanup_close_ int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd >= 0) {
        (void)fchmod(fd, 0600);
        return 0;
    }
    int error = -errno;
    snprintf(message, 256, "cannot open the database %s: %s", path, strerror(-error));
    return error;
}

static int query_int(sqlite3 *connection, const char *sql, int *ret_value)
{
    sqlite3_stmt *statement = NULL;
    int code = sqlite3_prepare_v2(connection, sql, -1, &statement, NULL);
    if (code == SQLITE_OK) {
        code = sqlite3_step(statement);
        if (code == SQLITE_ROW)
            *ret_value = sqlite3_column_int(statement, 0);
    }
    sqlite3_finalize(statement);
    return code == SQLITE_ROW ? SQLITE_OK : code;
}

/* Refuses a file that this program must not touch; else gives the version of its schema. */
static int check_schema(sqlite3 *connection, const char *path, int *ret_version,
                        char message[static 256])
{
    int application = 0, version = 0, objects = 0;
    int code = query_int(connection, "PRAGMA application_id", &application);
    if (code == SQLITE_OK)
        code = query_int(connection, "PRAGMA user_version", &version);
    if (code == SQLITE_OK)
        code = query_int(connection, "SELECT count(*) FROM sqlite_schema", &objects);
    if (code != SQLITE_OK)
        return explain(connection, code, path, message);

    bool fresh = application == 0 && version == 0 && objects == 0;
    if ((application != APPLICATION_ID && !fresh) || version < 0) {
        snprintf(message, 256, "%s is another program's database; move it away", path);
        return -EUCLEAN;
    }
    if (version > SCHEMA_VERSION) {
        snprintf(message, 256,
                 "%s was written by a newer autodl (schema %d, this one knows %d); install that"
                 " version or move the file away",
                 path, version, SCHEMA_VERSION);
        return -EUCLEAN;
    }
    *ret_version = version;
    return 0;
}

static int migrate(sqlite3 *connection, int version)
{
    char end[128];
    snprintf(end, sizeof(end), "PRAGMA application_id = %d; PRAGMA user_version = %d; COMMIT",
             APPLICATION_ID, version + 1);
    const char *const steps[] = {"BEGIN IMMEDIATE", migrations[version], end};
    int code = SQLITE_OK;
    for (size_t i = 0; code == SQLITE_OK && i < sizeof(steps) / sizeof(steps[0]); i++)
        code = sqlite3_exec(connection, steps[i], NULL, NULL, NULL);
    return code;
}

static int upgrade(sqlite3 *connection, const char *path, char message[static 256])
{
    int version = 0;
    int result = check_schema(connection, path, &version, message);
    if (result < 0)
        return result;
    int code =
        sqlite3_exec(connection, "PRAGMA page_size = " PAGE_SIZE "; PRAGMA journal_mode = WAL",
                     NULL, NULL, NULL);
    while (code == SQLITE_OK && version < SCHEMA_VERSION)
        code = migrate(connection, version++);
    return code == SQLITE_OK ? 0 : explain(connection, code, path, message);
}

/* Its statistics of memory, which nobody asks for, take one lock for all connections at each
 * allocation. */
static void configure(void)
{
    (void)sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
}

static int connect_to(const char *path, sqlite3 **ret_connection, char message[static 256])
{
    static pthread_once_t configured = PTHREAD_ONCE_INIT;
    pthread_once(&configured, configure);
    sqlite3 *connection = NULL;
    int code =
        sqlite3_open_v2(path, &connection, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL);
    if (code == SQLITE_OK)
        code = sqlite3_extended_result_codes(connection, 1);
    if (code == SQLITE_OK)
        code = sqlite3_busy_timeout(connection, BUSY_TIMEOUT_MS);
    /* The limit cuts the log down again after a very large transaction. Headers may hold secrets:
     * what is deleted is overwritten. */
    if (code == SQLITE_OK)
        code = sqlite3_exec(connection,
                            "PRAGMA synchronous = FULL; PRAGMA temp_store = MEMORY;"
                            "PRAGMA secure_delete = ON;"
                            "PRAGMA cache_size = -8192; PRAGMA journal_size_limit = 16777216",
                            NULL, NULL, NULL);
    if (code != SQLITE_OK) {
        int result = explain(connection, code, path, message);
        sqlite3_close(connection);
        return result;
    }
    *ret_connection = connection;
    return 0;
}

int database_make(const char *path, char message[static 256])
{
    int result = make_file(path, message);
    if (result < 0)
        return result;
    sqlite3 *connection;
    result = connect_to(path, &connection, message);
    if (result < 0)
        return result;
    result = upgrade(connection, path, message);
    sqlite3_close(connection); /* rolls back what was begun */
    return result;
}

static bool holds(sqlite3_value *value, const char *text, bool all)
{
    const char *within = (const char *)sqlite3_value_text(value);
    const char *at = within ? strcasestr(within, text) : NULL;
    return at && (all || (size_t)(at - within) + strlen(text) <= strcspn(within, "?#"));
}

/* text_fits(TEXT, URL, NAME, LABEL, ALL): the text is in one of them; without ALL in what others see
 * of the URL. */
static void text_fits(sqlite3_context *context, int count, sqlite3_value **values)
{
    (void)count;
    const char *text = (const char *)sqlite3_value_text(values[0]);
    bool fits =
        text && (holds(values[1], text, sqlite3_value_int(values[4])) ||
                 holds(values[2], text, true) || holds(values[3], text, true));
    sqlite3_result_int(context, fits);
}

int database_open(const char *path, struct database **ret_database, char message[static 256])
{
    struct database *database = calloc(1, sizeof(*database));
    if (!database)
        return explain(NULL, SQLITE_NOMEM, path, message);
    database->ended = -1;
    int result = connect_to(path, &database->connection, message);
    if (result == 0 &&
        sqlite3_create_function_v2(database->connection, "text_fits", 5,
                                   SQLITE_UTF8 | SQLITE_DETERMINISTIC | SQLITE_DIRECTONLY, NULL,
                                   text_fits, NULL, NULL, NULL) != SQLITE_OK)
        result = explain(database->connection, SQLITE_NOMEM, path, message);
    for (int i = 0; result == 0 && i < STATEMENTS; i++) {
        int code = sqlite3_prepare_v3(database->connection, statement_texts[i], -1,
                                      SQLITE_PREPARE_PERSISTENT, &database->statements[i], NULL);
        if (code != SQLITE_OK)
            result = explain(database->connection, code, path, message);
    }
    if (result < 0) {
        database_close(database);
        return result;
    }
    *ret_database = database;
    return 0;
}

void database_close(struct database *database)
{
    if (!database)
        return;
    for (int i = 0; i < STATEMENTS; i++)
        sqlite3_finalize(database->statements[i]);
    int code = sqlite3_close(database->connection);
    assert(code == SQLITE_OK);
    (void)code;
    free(database);
}

void database_give_memory_back(struct database *database)
{
    (void)sqlite3_db_release_memory(database->connection);
}

/* --- writes --- */

int database_begin(struct database *database)
{
    database->ended_at_begin = database->ended;
    return run(database, database->statements[BEGIN]);
}

int database_commit(struct database *database)
{
    return run(database, database->statements[COMMIT]);
}

void database_rollback(struct database *database)
{
    database->ended = database->ended_at_begin;
    /* After some errors SQLite has done it already. What ROLLBACK itself returns tells nothing: the
     * transaction is over in any case. */
    if (!sqlite3_get_autocommit(database->connection))
        sqlite3_exec(database->connection, "ROLLBACK", NULL, NULL, NULL);
}

/* So many more tasks have ended. */
static void count_ended(struct database *database, int change)
{
    if (database->ended >= 0)
        database->ended += change;
}

/* What a write must know of the task before it. */
static int look(struct database *database, int64_t row, enum task_state *ret_state,
                bool *ret_has_part)
{
    sqlite3_stmt *statement = database->statements[LOOK];
    bind_int(statement, 1, row);
    int result = step(database, statement);
    if (result <= 0)
        return finish(statement, result < 0 ? result : -ENOENT);
    bool has_part = sqlite3_column_int64(statement, 1) != 0;
    result = read_state(statement, 0, ret_state);
    if (result == 0)
        *ret_has_part = has_part;
    return finish(statement, result);
}

static int add_secrets(struct database *database, const struct task *task, int64_t row)
{
    if (!task->headers && !task->username && !task->password)
        return 0;
    sqlite3_stmt *statement = database->statements[ADD_SECRETS];
    bind_int(statement, 1, row);
    bind_text(statement, 2, task->headers);
    bind_text(statement, 3, task->username);
    bind_text(statement, 4, task->password);
    return run(database, statement);
}

static int wipe_secrets(struct database *database, int64_t row)
{
    sqlite3_stmt *statement = database->statements[WIPE_SECRETS];
    bind_int(statement, 1, row);
    int result = run(database, statement);
    if (result == 0 && sqlite3_changes(database->connection) > 0)
        database->wiped = true;
    return result;
}

int database_add(struct database *database, const struct task *task, int64_t *ret_row)
{
    sqlite3_stmt *statement = database->statements[ADD];
    bind_task(statement, task);
    int result = run(database, statement);
    if (result < 0)
        return result;
    int64_t row = sqlite3_last_insert_rowid(database->connection);
    count_ended(database, task_state_ended(task->state));
    if (task->state != TASK_FINISHED)
        result = add_secrets(database, task, row);
    if (result == 0)
        *ret_row = row;
    return result;
}

int database_add_many(struct database *database, struct task *const *tasks, size_t count)
{
    int64_t ended = database->ended;
    int result = run(database, database->statements[SAVEPOINT]);
    if (result < 0)
        return result;
    for (size_t i = 0; i < count && result == 0; i++)
        result = database_add(database, tasks[i], &tasks[i]->row);
    if (result == -EEXIST) { /* the others of the transaction go on */
        database->ended = ended;
        int back = run(database, database->statements[BACK_TO_SAVEPOINT]);
        result = back < 0 ? back : result;
    }
    int released = run(database, database->statements[RELEASE_SAVEPOINT]);
    return result < 0 ? result : released;
}

int database_update(struct database *database, const struct task *task)
{
    enum task_state before = TASK_CREATED;
    bool had_part;
    int result = look(database, task->row, &before, &had_part);
    if (result < 0)
        return result;
    sqlite3_stmt *statement = database->statements[UPDATE];
    bind_task(statement, task);
    result = run(database, statement);
    if (result < 0)
        return result;
    count_ended(database, task_state_ended(task->state) - task_state_ended(before));
    return task->state == TASK_FINISHED ? wipe_secrets(database, task->row) : 0;
}

static int change_place(struct database *database, const struct task *task)
{
    sqlite3_stmt *statement = database->statements[CHANGE_PLACE];
    bind_int(statement, 1, task->row);
    bind_text(statement, 2, task->url);
    bind_int(statement, 3, (int64_t)task->host);
    bind_int(statement, 4, task->mirror);
    bind_int(statement, 5, task->was_global);
    bind_int(statement, 6, task->failures);
    bind_int(statement, 7, task->wait);
    bind_int(statement, 8, task->not_before);
    return run(database, statement);
}

int database_change(struct database *database, const struct task *task, struct store_change what)
{
    sqlite3_stmt *statement = database->statements[CHANGE];
    bind_int(statement, 1, task->row);
    bind_int(statement, 2, task->priority);
    bind_text(statement, 3, task->label);
    bind_int(statement, 4, task->rate_limit);
    bind_int(statement, 5, task->max_ranges);
    int result = run(database, statement);
    if (result == 0 && sqlite3_changes(database->connection) == 0)
        result = -ENOENT;
    if (result == 0 && what.place)
        result = change_place(database, task);
    if (result == 0 && what.secrets)
        result = wipe_secrets(database, task->row);
    if (result == 0 && what.secrets)
        result = add_secrets(database, task, task->row);
    return result;
}

int database_clear(struct database *database, int64_t row, int64_t when, bool *ret_has_part)
{
    enum task_state state = TASK_CREATED;
    bool has_part = false;
    int result = look(database, row, &state, &has_part);
    if (result < 0 || (state != TASK_ENQUEUED && state != TASK_DOWNLOADING))
        return result < 0 ? result : -ENOENT;

    sqlite3_stmt *clear = database->statements[CLEAR];
    bind_int(clear, 1, row);
    bind_int(clear, 2, TASK_CLEARED);
    bind_int(clear, 3, when);
    result = run(database, clear);
    if (result < 0)
        return result;
    count_ended(database, 1);
    *ret_has_part = has_part;
    return 0;
}

int database_forget(struct database *database, int64_t row, bool *ret_ended)
{
    enum task_state state = TASK_CREATED;
    bool has_part;
    int result = look(database, row, &state, &has_part);
    if (result == 0 && task_state_ended(state)) {
        sqlite3_stmt *statement = database->statements[FORGET];
        bind_int(statement, 1, row);
        result = run(database, statement);
        if (result == 0)
            count_ended(database, -1);
        database->wiped = true; /* its URL */
    }
    if (result == 0)
        *ret_ended = task_state_ended(state);
    return result;
}

static const struct {
    enum statement statement;
    enum task_state becomes;
} verbs[STORE_VERBS] = {
    [STORE_HOLD] = {HOLD_ONE, TASK_PAUSED},
    [STORE_RELEASE] = {RELEASE_ONE, TASK_ENQUEUED},
    [STORE_CANCEL] = {CANCEL_ONE, TASK_CANCELLED},
    [STORE_CANCEL_KEEP] = {CANCEL_ONE, TASK_CANCELLED},
    [STORE_RETRY] = {RETRY_ONE, TASK_ENQUEUED},
    [STORE_FORGET] = {FORGET, TASK_CREATED},
};

static int do_one(struct database *database, enum store_verb verb, int64_t row, int64_t when)
{
    sqlite3_stmt *statement = database->statements[verbs[verb].statement];
    bind_int(statement, 1, row);
    if (verb != STORE_FORGET)
        bind_int(statement, 2, verbs[verb].becomes);
    if (verb == STORE_CANCEL || verb == STORE_CANCEL_KEEP) {
        bind_int(statement, 3, when);
        bind_int(statement, 4, verb == STORE_CANCEL);
    }
    return run(database, statement);
}

/* TASK_STATES: it is gone, or in another state than is meant. */
static int look_whether(struct database *database, int64_t row, unsigned states,
                        enum task_state *ret_state)
{
    bool has_part;
    enum task_state state = TASK_STATES;
    int result = look(database, row, &state, &has_part);
    if (result < 0 && result != -ENOENT)
        return result;
    *ret_state = result == 0 && states >> state & 1 ? state : TASK_STATES;
    return 0;
}

int database_do_some(struct database *database, const struct store_many *many, size_t count)
{
    bool will_have_ended = task_state_ended(verbs[many->verb].becomes);
    for (size_t i = many->next; i < many->next + count; i++) {
        enum task_state state;
        int result = look_whether(database, many->rows[i], many->states, &state);
        if (result == 0 && state != TASK_STATES)
            result = do_one(database, many->verb, many->rows[i], many->when);
        if (result < 0)
            return result == -EEXIST ? -EIO : result; /* no dest is taken that was not */
        if (many->ret_before)
            many->ret_before[i] = (uint8_t)state;
        if (state != TASK_STATES)
            count_ended(database, will_have_ended - task_state_ended(state));
    }
    if (many->verb == STORE_FORGET)
        database->wiped = true; /* URLs */
    return 0;
}

int database_begin_errand(struct database *database, const struct store_many *many,
                          int64_t *ret_errand)
{
    sqlite3_stmt *statement = database->statements[BEGIN_ERRAND];
    bind_int(statement, 1, many->verb);
    bind_int(statement, 2, many->states);
    bind_int(statement, 3, many->when);
    int code = sqlite3_bind_blob64(statement, 4, many->rows, many->count * sizeof *many->rows,
                                   SQLITE_STATIC);
    int result = code == SQLITE_OK ? run(database, statement)
                                   : finish(statement, error_of(database->connection, code));
    if (result == 0)
        *ret_errand = sqlite3_last_insert_rowid(database->connection);
    return result;
}

int database_end_errand(struct database *database, int64_t errand)
{
    sqlite3_stmt *statement = database->statements[END_ERRAND];
    bind_int(statement, 1, errand);
    return run(database, statement);
}

/* 1: there is one, whose rows are the caller's; 0; or an error. */
static int read_first_errand(struct database *database, struct store_many *ret_many,
                             int64_t **ret_rows)
{
    sqlite3_stmt *statement = database->statements[FIRST_ERRAND];
    int verb, result = step(database, statement);
    if (result <= 0)
        return finish(statement, result);
    size_t size = (size_t)sqlite3_column_bytes(statement, 4);
    const void *blob = sqlite3_column_blob(statement, 4);
    int64_t *rows = malloc(size + 1);
    result = read_enum(statement, 1, STORE_VERBS, &verb);
    if (!rows || (size > 0 && !blob))
        result = -ENOMEM;
    if (result < 0) {
        free(rows);
        return finish(statement, result);
    }
    if (size > 0)
        memcpy(rows, blob, size);
    *ret_many = (struct store_many){.verb = (enum store_verb)verb,
                                    .rows = rows,
                                    .count = size / sizeof *rows,
                                    .states = (unsigned)sqlite3_column_int64(statement, 2),
                                    .when = sqlite3_column_int64(statement, 3),
                                    .errand = sqlite3_column_int64(statement, 0)};
    *ret_rows = rows;
    return finish(statement, 1);
}

/* What was done already is in another state by now, or gone: it can be done twice. */
static int do_errand(struct database *database, struct store_many *many)
{
    int result = 0;
    do {
        size_t left = many->count - many->next;
        size_t count = left < STORE_MANY_AT_ONCE ? left : STORE_MANY_AT_ONCE;
        result = database_begin(database);
        if (result == 0)
            result = database_do_some(database, many, count);
        many->next += count;
        if (result == 0 && many->next == many->count)
            result = database_end_errand(database, many->errand);
        if (result == 0)
            result = database_commit(database);
        if (result < 0)
            database_rollback(database);
    } while (result == 0 && many->next < many->count);
    return result;
}

int database_do_errands(struct database *database)
{
    for (;;) {
        struct store_many many;
        _cleanup_free_ int64_t *rows = NULL;
        int result = read_first_errand(database, &many, &rows);
        if (result > 0)
            result = do_errand(database, &many);
        else
            return result;
        if (result < 0)
            return result;
    }
}

/* Counts once; from then on the writes do. */
static int know_ended(struct database *database)
{
    if (database->ended >= 0)
        return 0;
    sqlite3_stmt *statement = database->statements[COUNT_ENDED];
    int result = step(database, statement);
    if (result > 0)
        database->ended = sqlite3_column_int64(statement, 0);
    return finish(statement, result < 0 ? result : 0);
}

/* In the order of their ends: what comes before this is not kept. */
struct cutoff {
    int64_t ended_at;
    int64_t row; /* of those that ended then */
};

static void bind_cutoff(sqlite3_stmt *statement, const struct cutoff *cutoff)
{
    bind_int(statement, 1, cutoff->ended_at);
    bind_int(statement, 2, cutoff->row);
}

/* The newest `keep` stay as far as their number goes. */
static int cut_by_number(struct database *database, uint64_t keep, struct cutoff *ret_cutoff)
{
    int result = know_ended(database);
    int64_t excess = keep > INT64_MAX ? 0 : database->ended - (int64_t)keep;
    *ret_cutoff = (struct cutoff){INT64_MIN, 0};
    if (result < 0 || excess <= 0)
        return result;
    sqlite3_stmt *statement = database->statements[FIRST_KEPT];
    bind_int(statement, 1, excess);
    result = step(database, statement);
    if (result > 0)
        *ret_cutoff =
            (struct cutoff){sqlite3_column_int64(statement, 0), sqlite3_column_int64(statement, 1)};
    else if (result == 0)
        *ret_cutoff = (struct cutoff){INT64_MAX, INT64_MAX};
    return finish(statement, result < 0 ? result : 0);
}

static int prune(struct database *database, const struct cutoff *cutoff, int64_t max)
{
    sqlite3_stmt *statement = database->statements[PRUNE];
    bind_cutoff(statement, cutoff);
    bind_int(statement, 3, max);
    int result = run(database, statement);
    if (result < 0)
        return result;
    int pruned = sqlite3_changes(database->connection);
    count_ended(database, -pruned);
    database->wiped = database->wiped || pruned > 0;
    return 0;
}

/* Goes on where it stopped the last time: those that stay in spite of all are not always the only
 * ones to be told of. */
static int list_left_over(struct database *database, const struct cutoff *cutoff, size_t max,
                          int64_t *ret_rows, size_t *ret_count)
{
    sqlite3_stmt *statement = database->statements[LIST_LEFT_OVER];
    bind_cutoff(statement, cutoff);
    bind_int(statement, 3, database->left_over_until);
    bind_int(statement, 4, (int64_t)max);
    size_t count = 0;
    int result;
    while ((result = step(database, statement)) > 0)
        ret_rows[count++] = sqlite3_column_int64(statement, 0);
    if (result == 0) {
        database->left_over_until = count > 0 && count == max ? ret_rows[count - 1] : 0;
        *ret_count = count;
    }
    return finish(statement, result);
}

int database_prune(struct database *database, int64_t before, uint64_t keep, unsigned max,
                   int64_t *ret_left_over, size_t left_over_max, size_t *ret_left_over_count)
{
    struct cutoff cutoff;
    int result = cut_by_number(database, keep, &cutoff);
    if (cutoff.ended_at < before)
        cutoff = (struct cutoff){before, 0};
    if (result == 0)
        result = prune(database, &cutoff, max);
    if (result == 0)
        result =
            list_left_over(database, &cutoff, left_over_max, ret_left_over, ret_left_over_count);
    return result;
}

int database_set_pause(struct database *database, const struct store_pause *pause)
{
    sqlite3_stmt *statement = database->statements[SET_PAUSE];
    bind_scope(statement, 1, pause->uid);
    bind_int(statement, 2, pause->until);
    bind_int(statement, 3, pause->length);
    return run(database, statement);
}

int database_end_pause(struct database *database, uid_t uid)
{
    sqlite3_stmt *statement = database->statements[END_PAUSE];
    bind_scope(statement, 1, uid);
    return run(database, statement);
}

bool database_has_wiped(const struct database *database)
{
    return database->wiped;
}

int database_truncate_log(struct database *database)
{
    sqlite3 *connection = database->connection;
    sqlite3_busy_timeout(connection, 0);
    int code = sqlite3_wal_checkpoint_v2(connection, NULL, SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL);
    sqlite3_busy_timeout(connection, BUSY_TIMEOUT_MS);
    if (code == SQLITE_OK)
        database->wiped = false;
    return error_of(connection, code);
}

/* --- reads --- */

static int read_secrets(struct database *database, struct task *task)
{
    sqlite3_stmt *statement = database->statements[FETCH_SECRETS];
    bind_int(statement, 1, task->row);
    int result = step(database, statement);
    if (result <= 0)
        return finish(statement, result);
    result = read_text(statement, 0, &task->headers);
    if (result == 0)
        result = read_text(statement, 1, &task->username);
    if (result == 0)
        result = read_text(statement, 2, &task->password);
    return finish(statement, result);
}

/* The one task that a bound statement gives. */
static int read_only_task(struct database *database, sqlite3_stmt *statement, struct task *ret_task)
{
    _cleanup_(task_release) struct task task = {0};
    int result = step(database, statement);
    if (result <= 0)
        return finish(statement, result < 0 ? result : -ENOENT);
    result = read_task(statement, &task);
    if (result == 0)
        result = read_secrets(database, &task); /* of the same moment: `statement` goes on */
    if (result == 0)
        result = step(database, statement);
    finish(statement, 0);
    if (result != 0)
        return result < 0 ? result : -EMLINK;
    *ret_task = task;
    task = (struct task){0};
    return 0;
}

int database_fetch(struct database *database, int64_t row, struct task *ret_task)
{
    sqlite3_stmt *statement = database->statements[FETCH];
    bind_int(statement, 1, row);
    return read_only_task(database, statement, ret_task);
}

int database_find(struct database *database, uid_t uid, const char *prefix, struct task *ret_task)
{
    sqlite3_stmt *statement = database->statements[FIND];
    bind_text(statement, 1, prefix);
    bind_scope(statement, 2, uid);
    return read_only_task(database, statement, ret_task);
}

int database_find_ids(struct database *database, uid_t uid, const char *prefix, size_t max,
                      char (*ret_ids)[API_ID_LENGTH + 1], size_t *ret_count)
{
    sqlite3_stmt *statement = database->statements[FIND_IDS];
    bind_text(statement, 1, prefix);
    bind_scope(statement, 2, uid);
    bind_int(statement, 3, (int64_t)max);
    size_t count = 0;
    int result;
    while ((result = step(database, statement)) > 0 && count < max) {
        const char *id = (const char *)sqlite3_column_text(statement, 0);
        snprintf(ret_ids[count++], API_ID_LENGTH + 1, "%s", id ? id : "");
    }
    if (result == 0)
        *ret_count = count;
    return finish(statement, result);
}

int database_dest_taken(struct database *database, const char *directory, const char *name)
{
    sqlite3_stmt *statement = database->statements[DEST_TAKEN];
    bind_text(statement, 1, directory);
    bind_text(statement, 2, name);
    return run(database, statement);
}

int database_dests_taken(struct database *database, const char *directory,
                         const char *const *names, size_t count, bool *ret_taken)
{
    int result = run(database, database->statements[BEGIN_READ]);
    if (result < 0)
        return result;
    for (size_t i = 0; i < count && result >= 0; i++) {
        result = database_dest_taken(database, directory, names[i]);
        ret_taken[i] = result > 0;
    }
    database_rollback(database);
    return result < 0 ? result : 0;
}

int database_find_dest(struct database *database, const char *directory, const char *name,
                       struct task *ret_task)
{
    sqlite3_stmt *statement = database->statements[FIND_DEST];
    bind_text(statement, 1, directory);
    bind_text(statement, 2, name);
    return read_only_task(database, statement, ret_task);
}

/* 0 or -EUCLEAN. */
static int read_listed(sqlite3_stmt *statement, struct store_listed *listed)
{
    int wait = 0;
    listed->row = sqlite3_column_int64(statement, 0);
    listed->uid = (uid_t)sqlite3_column_int64(statement, 1);
    int result = read_state(statement, 2, &listed->state);
    if (result == 0)
        result = read_priority(statement, 3, &listed->priority);
    listed->host = (uint64_t)sqlite3_column_int64(statement, 4);
    if (result == 0)
        result = read_enum(statement, 5, TASK_WAITS, &wait);
    listed->wait = (enum task_wait)wait;
    listed->not_before = sqlite3_column_int64(statement, 6);
    return result;
}

static int list_tasks(struct database *database, enum statement which, int64_t after, size_t max,
                      struct store_listed *ret_list, size_t *ret_count)
{
    sqlite3_stmt *statement = database->statements[which];
    bind_int(statement, 1, after);
    bind_int(statement, 2, (int64_t)max);
    size_t count = 0;
    int result;
    while ((result = step(database, statement)) > 0) {
        assert(count < max);
        result = read_listed(statement, &ret_list[count++]);
        if (result < 0)
            break;
    }
    if (result == 0)
        *ret_count = count;
    return finish(statement, result);
}

int database_list_unfinished(struct database *database, int64_t after, size_t max,
                             struct store_listed *ret_list, size_t *ret_count)
{
    return list_tasks(database, LIST_UNFINISHED, after, max, ret_list, ret_count);
}

int database_list_strays(struct database *database, int64_t after, size_t max,
                         struct store_listed *ret_list, size_t *ret_count)
{
    return list_tasks(database, LIST_STRAYS, after, max, ret_list, ret_count);
}

int database_list_dependants(struct database *database, const struct store_dependant *last,
                             size_t max, struct store_dependant *ret_list, size_t *ret_count)
{
    sqlite3_stmt *statement = database->statements[LIST_DEPENDANTS];
    bind_text(statement, 1, last->after);
    bind_int(statement, 2, last->row);
    bind_int(statement, 3, (int64_t)max);
    size_t count = 0;
    int result;
    while ((result = step(database, statement)) > 0) {
        assert(count < max);
        const char *after = (const char *)sqlite3_column_text(statement, 0);
        struct store_dependant *dependant = &ret_list[count++];
        if (!after || strlen(after) > API_ID_LENGTH) {
            result = after ? -EUCLEAN : -ENOMEM;
            break;
        }
        strcpy(dependant->after, after);
        dependant->row = sqlite3_column_int64(statement, 1);
    }
    if (result == 0)
        *ret_count = count;
    return finish(statement, result);
}

int database_host_key(struct database *database, uint8_t ret_key[static STORE_HOST_KEY_SIZE])
{
    sqlite3_stmt *statement = database->statements[HOST_KEY];
    int result = step(database, statement);
    const void *key = result > 0 ? sqlite3_column_blob(statement, 0) : NULL;
    if (result > 0 && sqlite3_column_bytes(statement, 0) == STORE_HOST_KEY_SIZE && key) {
        memcpy(ret_key, key, STORE_HOST_KEY_SIZE);
        return finish(statement, 0);
    }
    return finish(statement, result < 0 ? result : -EUCLEAN);
}

int database_list_pauses(struct database *database, struct store_pause **ret_pauses,
                         size_t *ret_count)
{
    sqlite3_stmt *statement = database->statements[LIST_PAUSES];
    _cleanup_free_ struct store_pause *pauses = NULL;
    size_t count = 0;
    int result;
    while ((result = step(database, statement)) > 0) {
        struct store_pause *grown = reallocarray(pauses, count + 1, sizeof(*pauses));
        if (!grown)
            return finish(statement, -ENOMEM);
        pauses = grown;
        pauses[count++] = (struct store_pause){
            .uid = (uid_t)sqlite3_column_int64(statement, 0), /* -1 is STORE_EVERYBODY */
            .until = sqlite3_column_int64(statement, 1),
            .length = sqlite3_column_int64(statement, 2),
        };
    }
    if (result == 0) {
        *ret_pauses = TAKE_PTR(pauses);
        *ret_count = count;
    }
    return finish(statement, result);
}

/* --- lists --- */

#define SPAN ((int64_t)1 << 14) /* rows that one list looks at */

/* Rows of others are jumped over: how many there are is of no matter to a user. */
static int next_row(struct database *database, uid_t uid, int64_t before, int64_t *ret_row)
{
    bool of_user = uid != STORE_EVERYBODY;
    sqlite3_stmt *statement = database->statements[of_user ? NEXT_ROW_OF_USER : NEXT_ROW];
    bind_int(statement, 1, before);
    if (of_user)
        bind_int(statement, 2, uid);
    int result = step(database, statement);
    if (result > 0)
        *ret_row = sqlite3_column_int64(statement, 0); /* NULL, which is 0: there is none */
    return finish(statement, result < 0 ? result : 0);
}

/* One state at rest; -1: several, or others. */
static int only_state_at_rest(const struct store_filter *filter)
{
    for (int state = 0; state < TASK_STATES; state++)
        if (filter->states == 1U << state)
            return task_state_ended((enum task_state)state) || state == TASK_PAUSED ? state : -1;
    return -1;
}

static bool is_on_the_way_alone(const struct store_filter *filter)
{
    for (int state = 0; state < TASK_STATES; state++)
        if (filter->states >> state & 1 && task_state_ended((enum task_state)state))
            return false;
    return filter->states != 0;
}

/* What a look at the rows of one user costs depends on that user alone. */
static enum statement list_by(const struct store_filter *filter)
{
    if (only_state_at_rest(filter) >= 0)
        return LIST_AT_REST;
    if (filter->uid != STORE_EVERYBODY)
        return LIST_OF_USER;
    return is_on_the_way_alone(filter) ? LIST_ON_THEIR_WAY : LIST_ANY;
}

static int list(struct database *database, enum statement which, const struct store_filter *filter,
                int64_t from, int64_t down_to, size_t max, int64_t *ret_rows, size_t *ret_count)
{
    sqlite3_stmt *statement = database->statements[which];
    size_t count = 0;
    int result;
    bind_int(statement, 1, from);
    bind_int(statement, 2, down_to);
    bind_scope(statement, 3, filter->uid);
    bind_int(statement, 4, filter->states ? (int64_t)filter->states : -1);
    bind_int(statement, 5, (int64_t)filter->host);
    bind_int(statement, 6, filter->since);
    bind_int(statement, 7, filter->until ? filter->until : INT64_MAX);
    bind_text(statement, 8, filter->text);
    bind_int(statement, 9, filter->reader);
    bind_int(statement, 10, (int64_t)max);
    if (which == LIST_AT_REST)
        bind_int(statement, 11, only_state_at_rest(filter));
    while ((result = step(database, statement)) > 0)
        ret_rows[count++] = sqlite3_column_int64(statement, 0);
    if (result == 0)
        *ret_count = count;
    return finish(statement, result);
}

int database_list(struct database *database, const struct store_filter *filter, int64_t *before,
                  size_t max, int64_t *ret_rows, size_t *ret_count)
{
    int64_t from = 0;
    size_t count = 0;
    int result = next_row(database, filter->uid, *before, &from);
    int64_t down_to = from > SPAN ? from - SPAN + 1 : 1;
    if (result == 0 && from > 0)
        result =
            list(database, list_by(filter), filter, from, down_to, max, ret_rows, &count);
    if (result < 0)
        return result;
    *before = from == 0 ? 0 : count == max ? ret_rows[count - 1] : down_to;
    *ret_count = count;
    return 0;
}

int database_fits(struct database *database, const struct store_filter *filter, int64_t row)
{
    size_t count = 0;
    int64_t same;
    int result = list(database, LIST_ANY, filter, row, row, 1, &same, &count);
    return result < 0 ? result : (int)count;
}

int database_fetch_many(struct database *database, const int64_t *rows, size_t count,
                        struct task *ret_tasks)
{
    sqlite3_stmt *statement = database->statements[FETCH];
    int result = run(database, database->statements[BEGIN_READ]);
    for (size_t i = 0; i < count && result == 0; i++) {
        bind_int(statement, 1, rows[i]);
        result = step(database, statement);
        result = finish(statement, result > 0 ? read_task(statement, &ret_tasks[i]) : result);
    }
    database_rollback(database);
    return result;
}

int database_uid_of(struct database *database, const char *user, uid_t *ret_uid)
{
    sqlite3_stmt *statement = database->statements[UID_OF_USER];
    bind_text(statement, 1, user);
    int result = step(database, statement);
    if (result > 0)
        *ret_uid = (uid_t)sqlite3_column_int64(statement, 0);
    return finish(statement, result < 0 ? result : result == 0 ? -ENOENT : 0);
}

int database_count_at_rest(struct database *database, uid_t uid, uint64_t ret_counts[TASK_STATES])
{
    sqlite3_stmt *statement = database->statements[COUNT_AT_REST];
    enum task_state state = TASK_CREATED;
    int result;
    bind_int(statement, 1, uid);
    while ((result = step(database, statement)) > 0) {
        result = read_state(statement, 0, &state);
        if (result < 0)
            break;
        ret_counts[state] = (uint64_t)sqlite3_column_int64(statement, 1);
    }
    return finish(statement, result);
}
