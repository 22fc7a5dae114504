#include "http/connections.h"

#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "common/units.h"

/* For each of 1000 workers a file, a filer's channel, a few sockets; and all the rest. */
#define DESCRIPTORS_RESERVED (1000 * 6 + 512)
#define GOING_PER_MAX        2    /* beyond the limit one in so many may be there, told to go */
#define LOOK_EVERY_MS        1000 /* deadlines are kept within that */
#define SOURCES_SIZE         1024 /* a power of two */

/* A place in a list: a ring around its head. */
struct link {
    struct link *before, *after;
    struct connection *connection;
};

enum rank {
    GOES_FIRST, /* without a whole head, or idle */
    GOES_NEXT,  /* in a body or an answer, if that is slow */
    GOES_LAST,  /* at a stream */
    STAYS,
};

/* Connections that are counted together. */
struct crowd {
    unsigned open;
    unsigned going;           /* of them, told to go */
    struct link lists[STAYS]; /* of the others by rank, who has been so the longest first */
};

struct source {
    struct source *next; /* of the same bucket */
    struct in6_addr address;
    struct crowd crowd;
};

struct connection {
    int socket;
    enum connection_phase phase;
    int64_t since;    /* it is in this phase */
    int64_t deadline; /* INT64_MAX: none */
    bool going;
    struct source *source; /* NULL: not known */
    struct link in_all, in_source;
};

struct connections {
    /* immutable */
    unsigned max;
    connections_clock clock;
    uint64_t seed; /* so that nobody chooses addresses for one bucket */
    bool watched;
    pthread_t thread;

    /* protected by lock */
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool closing;
    unsigned coming; /* admitted, and not added yet */
    bool arrived;    /* one was added since deadlines were looked at */
    struct crowd all;
    struct source *sources[SOURCES_SIZE];
};

/* --- lists --- */

static void link_init(struct link *link, struct connection *connection)
{
    *link = (struct link){.before = link, .after = link, .connection = connection};
}

static void link_take_out(struct link *link)
{
    link->before->after = link->after;
    link->after->before = link->before;
    link->before = link->after = link;
}

static void link_put_last(struct link *list, struct link *link)
{
    link->before = list->before;
    link->after = list;
    list->before->after = link;
    list->before = link;
}

static void crowd_init(struct crowd *crowd)
{
    *crowd = (struct crowd){0};
    for (int rank = 0; rank < STAYS; rank++)
        link_init(&crowd->lists[rank], NULL);
}

/* --- where they come from --- */

/* The address as an IPv6 one; a unix socket's peer is its user. False: nobody counts by it. */
static bool address_of(const struct sockaddr *peer, int socket, struct in6_addr *ret_address)
{
    struct in6_addr address = {0};
    struct ucred user;
    socklen_t len = sizeof user;
    if (peer->sa_family == AF_INET6) {
        memcpy(&address, &((const struct sockaddr_in6 *)peer)->sin6_addr, sizeof address);
    } else if (peer->sa_family == AF_INET) {
        address.s6_addr[10] = address.s6_addr[11] = 0xff; /* RFC 4291, 2.5.5.2 */
        memcpy(&address.s6_addr[12], &((const struct sockaddr_in *)peer)->sin_addr, 4);
    } else if (socket >= 0 && getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &user, &len) == 0) {
        address.s6_addr[0] = 0xff; /* nobody connects from a multicast address */
        memcpy(&address.s6_addr[12], &user.uid, 4);
    } else {
        return false;
    }
    if (IN6_IS_ADDR_V4MAPPED(&address) && address.s6_addr[12] == IN_LOOPBACKNET)
        address = in6addr_loopback;
    *ret_address = address;
    return true;
}

/* No user of this machine takes all. */
static unsigned max_of(const struct connections *connections, const struct in6_addr *address)
{
    bool is_here = IN6_IS_ADDR_LOOPBACK(address) || address->s6_addr[0] == 0xff;
    return is_here ? connections->max / 2 + 1 : CONNECTIONS_PER_ADDRESS;
}

static struct source **bucket_locked(struct connections *connections,
                                     const struct in6_addr *address)
{
    uint64_t halves[2], hash = connections->seed;
    memcpy(halves, address, sizeof halves);
    for (int i = 0; i < 2; i++) {
        hash = (hash ^ halves[i]) * 0x9e3779b97f4a7c15;
        hash ^= hash >> 32;
    }
    return &connections->sources[hash & (SOURCES_SIZE - 1)];
}

static struct source *find_source_locked(struct connections *connections,
                                         const struct in6_addr *address)
{
    struct source *source = *bucket_locked(connections, address);
    while (source && !IN6_ARE_ADDR_EQUAL(&source->address, address))
        source = source->next;
    return source;
}

static struct source *get_source_locked(struct connections *connections,
                                        const struct in6_addr *address)
{
    struct source *source = find_source_locked(connections, address);
    if (source)
        return source;
    source = malloc(sizeof *source);
    if (!source)
        return NULL;
    struct source **bucket = bucket_locked(connections, address);
    source->next = *bucket;
    source->address = *address;
    crowd_init(&source->crowd);
    *bucket = source;
    return source;
}

static void forget_source_if_empty_locked(struct connections *connections, struct source *source)
{
    if (source->crowd.open)
        return;
    struct source **link = bucket_locked(connections, &source->address);
    while (*link != source)
        link = &(*link)->next;
    *link = source->next;
    free(source);
}

/* --- who goes --- */

static enum rank rank_of(enum connection_phase phase)
{
    switch (phase) {
    case CONNECTION_HEAD:
    case CONNECTION_IDLE:
        return GOES_FIRST;
    case CONNECTION_BODY:
    case CONNECTION_ANSWER:
        return GOES_NEXT;
    case CONNECTION_STREAM:
        return GOES_LAST;
    case CONNECTION_WORK:
        break;
    }
    return STAYS;
}

static unsigned beyond(unsigned max)
{
    return max / GOING_PER_MAX + 1;
}

static void cut_locked(struct connections *connections, struct connection *connection)
{
    shutdown(connection->socket, SHUT_RDWR);
    connection->going = true;
    link_take_out(&connection->in_all);
    link_take_out(&connection->in_source);
    connections->all.going++;
    if (connection->source)
        connection->source->crowd.going++;
}

/* NULL: all have to stay. */
static struct connection *victim_locked(struct connections *connections, const struct crowd *crowd)
{
    struct connection *victim = crowd->lists[GOES_FIRST].after->connection;
    if (victim)
        return victim;
    victim = crowd->lists[GOES_NEXT].after->connection;
    if (victim && connections->clock() - victim->since >= CONNECTION_SLOW_MS)
        return victim;
    return crowd->lists[GOES_LAST].after->connection;
}

/* False: all have to stay. */
static bool make_room_locked(struct connections *connections, struct crowd *crowd, unsigned max)
{
    if (crowd->open - crowd->going < max)
        return true;
    struct connection *victim = victim_locked(connections, crowd);
    if (victim)
        cut_locked(connections, victim);
    return victim;
}

static bool have_room_locked(const struct connections *connections)
{
    return connections->all.open + connections->coming <
           connections->max + beyond(connections->max);
}

bool connections_have_room(struct connections *connections)
{
    pthread_mutex_lock(&connections->lock);
    bool room = have_room_locked(connections);
    pthread_mutex_unlock(&connections->lock);
    return room;
}

bool connections_admit(struct connections *connections, const struct sockaddr *peer)
{
    struct in6_addr address;
    pthread_mutex_lock(&connections->lock);
    struct crowd *all = &connections->all;
    struct source *source =
        address_of(peer, -1, &address) ? find_source_locked(connections, &address) : NULL;
    bool admitted = have_room_locked(connections);
    if (admitted && source)
        admitted = make_room_locked(connections, &source->crowd, max_of(connections, &address));
    if (admitted)
        admitted = make_room_locked(connections, all, connections->max);
    connections->coming += admitted;
    pthread_mutex_unlock(&connections->lock);
    return admitted;
}

/* --- coming, going, changing --- */

static int64_t deadline_of(enum connection_phase phase, uint64_t bytes, int64_t now)
{
    uint64_t limit = INT32_MAX; /* some weeks */
    uint64_t patience = bytes / CONNECTION_BYTES_PER_MS;
    int64_t extra = (int64_t)(patience < limit ? patience : limit);
    switch (phase) {
    case CONNECTION_HEAD:
        return now + CONNECTION_HEAD_MS;
    case CONNECTION_IDLE:
        return now + CONNECTION_IDLE_MS;
    case CONNECTION_BODY:
        return now + CONNECTION_BODY_MS + extra;
    case CONNECTION_ANSWER:
        return now + CONNECTION_ANSWER_MS + extra;
    case CONNECTION_STREAM:
    case CONNECTION_WORK:
        break;
    }
    return INT64_MAX;
}

static void enter_locked(struct connections *connections, struct connection *connection,
                         enum connection_phase phase, uint64_t bytes)
{
    enum rank rank = rank_of(phase);
    connection->phase = phase;
    connection->since = connections->clock();
    connection->deadline = deadline_of(phase, bytes, connection->since);
    link_take_out(&connection->in_all);
    link_take_out(&connection->in_source);
    if (rank == STAYS)
        return;
    link_put_last(&connections->all.lists[rank], &connection->in_all);
    if (connection->source)
        link_put_last(&connection->source->crowd.lists[rank], &connection->in_source);
}

/* More than one may have been admitted for the same room. */
static void trim_locked(struct connections *connections, struct source *source)
{
    if (source)
        make_room_locked(connections, &source->crowd, max_of(connections, &source->address) + 1);
    make_room_locked(connections, &connections->all, connections->max + 1);
}

struct connection *connections_add(struct connections *connections, int socket,
                                   const struct sockaddr *peer)
{
    struct in6_addr address;
    bool counted = address_of(peer, socket, &address);
    struct connection *connection = calloc(1, sizeof *connection);
    if (!connection)
        return NULL;
    connection->socket = socket;
    link_init(&connection->in_all, connection);
    link_init(&connection->in_source, connection);
    pthread_mutex_lock(&connections->lock);
    connections->coming -= connections->coming > 0;
    if (counted)
        connection->source = get_source_locked(connections, &address);
    if (counted && !connection->source) {
        pthread_mutex_unlock(&connections->lock);
        free(connection);
        return NULL;
    }
    if (connections->all.open++ == 0)
        pthread_cond_signal(&connections->changed);
    if (counted)
        connection->source->crowd.open++;
    enter_locked(connections, connection, CONNECTION_HEAD, 0);
    trim_locked(connections, connection->source);
    connections->arrived = true;
    pthread_mutex_unlock(&connections->lock);
    return connection;
}

void connections_remove(struct connections *connections, struct connection *connection)
{
    if (!connection)
        return;
    pthread_mutex_lock(&connections->lock);
    link_take_out(&connection->in_all);
    link_take_out(&connection->in_source);
    connections->all.open--;
    connections->all.going -= connection->going;
    struct source *source = connection->source;
    if (source) {
        source->crowd.open--;
        source->crowd.going -= connection->going;
        forget_source_if_empty_locked(connections, source);
    }
    pthread_mutex_unlock(&connections->lock);
    free(connection);
}

void connections_enter(struct connections *connections, struct connection *connection,
                       enum connection_phase phase, uint64_t bytes)
{
    if (!connection)
        return;
    pthread_mutex_lock(&connections->lock);
    if (!connection->going && connection->phase != phase)
        enter_locked(connections, connection, phase, bytes);
    pthread_mutex_unlock(&connections->lock);
}

/* --- deadlines --- */

static int64_t expire_locked(struct connections *connections)
{
    if (!connections->arrived)
        connections->coming = 0; /* whoever is not here by now was lost on the way */
    connections->arrived = false;
    int64_t now = connections->clock(), next = INT64_MAX;
    for (int rank = 0; rank < GOES_LAST; rank++) { /* streams have no deadline */
        struct link *list = &connections->all.lists[rank];
        for (struct link *link = list->after, *after; link != list; link = after) {
            after = link->after;
            if (link->connection->deadline <= now)
                cut_locked(connections, link->connection);
            else if (link->connection->deadline < next)
                next = link->connection->deadline;
        }
    }
    return next == INT64_MAX ? -1 : next - now;
}

int64_t connections_expire(struct connections *connections)
{
    pthread_mutex_lock(&connections->lock);
    int64_t next = expire_locked(connections);
    pthread_mutex_unlock(&connections->lock);
    return next;
}

static void wait_locked(struct connections *connections)
{
    if (connections->all.open == 0) {
        pthread_cond_wait(&connections->changed, &connections->lock);
        return;
    }
    struct timespec end = units_monotonic_in(LOOK_EVERY_MS);
    pthread_cond_timedwait(&connections->changed, &connections->lock, &end);
}

static void *watch(void *data)
{
    struct connections *connections = data;
    pthread_mutex_lock(&connections->lock);
    while (!connections->closing) {
        expire_locked(connections);
        wait_locked(connections);
    }
    pthread_mutex_unlock(&connections->lock);
    return NULL;
}

unsigned connections_count(struct connections *connections)
{
    pthread_mutex_lock(&connections->lock);
    unsigned count = connections->all.open;
    pthread_mutex_unlock(&connections->lock);
    return count;
}

/* --- life --- */

unsigned connections_affordable(uint64_t descriptors)
{
    const uint64_t wanted = CONNECTIONS_MAX + beyond(CONNECTIONS_MAX);
    uint64_t room = descriptors / 2;
    if (descriptors > DESCRIPTORS_RESERVED && descriptors - DESCRIPTORS_RESERVED > room)
        room = descriptors - DESCRIPTORS_RESERVED;
    if (room > wanted)
        room = wanted;
    uint64_t max = room ? (room - 1) * GOING_PER_MAX / (GOING_PER_MAX + 1) : 0;
    return max ? (unsigned)max : 1;
}

int connections_create(unsigned max, connections_clock clock, struct connections **ret_connections)
{
    struct connections *connections = calloc(1, sizeof *connections);
    if (!connections)
        return -ENOMEM;
    connections->max = max;
    connections->clock = clock;
    (void)!getrandom(&connections->seed, sizeof connections->seed, GRND_NONBLOCK);
    crowd_init(&connections->all);
    units_condition_init(&connections->changed);
    pthread_mutex_init(&connections->lock, NULL);
    *ret_connections = connections;
    return 0;
}

int connections_watch(struct connections *connections)
{
    int error = -pthread_create(&connections->thread, NULL, watch, connections);
    connections->watched = error == 0;
    return error;
}

void connections_destroy(struct connections *connections)
{
    if (!connections)
        return;
    pthread_mutex_lock(&connections->lock);
    connections->closing = true;
    pthread_cond_signal(&connections->changed);
    pthread_mutex_unlock(&connections->lock);
    if (connections->watched)
        pthread_join(connections->thread, NULL);
    assert(connections->all.open == 0);
    pthread_cond_destroy(&connections->changed);
    pthread_mutex_destroy(&connections->lock);
    free(connections);
}
