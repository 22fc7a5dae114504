#include "http/peer.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "common/cleanup.h"

struct peers {
    /* protected by lock */
    pthread_mutex_t lock;
    int netlink; /* -1: to be opened */
    uint32_t sequence;
};

struct question {
    struct nlmsghdr head;
    struct inet_diag_req_v2 body;
};

union address {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
    struct sockaddr_storage space;
};

int peers_create(struct peers **ret_peers)
{
    struct peers *peers = calloc(1, sizeof *peers);
    if (!peers)
        return -ENOMEM;
    pthread_mutex_init(&peers->lock, NULL);
    peers->netlink = -1;
    *ret_peers = peers;
    return 0;
}

void peers_destroy(struct peers *peers)
{
    if (!peers)
        return;
    if (peers->netlink >= 0)
        close(peers->netlink);
    pthread_mutex_destroy(&peers->lock);
    free(peers);
}

static int family_of(int socket)
{
    int family = AF_UNSPEC;
    socklen_t len = sizeof family;
    getsockopt(socket, SOL_SOCKET, SO_DOMAIN, &family, &len);
    return family;
}

bool peer_is_unix(int socket)
{
    return family_of(socket) == AF_UNIX;
}

/* An IPv4 address in IPv6 clothes becomes what it is. */
static void undress(union address *address)
{
    if (address->any.sa_family != AF_INET6 || !IN6_IS_ADDR_V4MAPPED(&address->v6.sin6_addr))
        return;
    struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = address->v6.sin6_port};
    memcpy(&v4.sin_addr, &address->v6.sin6_addr.s6_addr[12], sizeof v4.sin_addr);
    address->v4 = v4;
}

static bool is_loopback(const union address *address)
{
    if (address->any.sa_family == AF_INET)
        return ntohl(address->v4.sin_addr.s_addr) >> 24 == IN_LOOPBACKNET;
    return address->any.sa_family == AF_INET6 && IN6_IS_ADDR_LOOPBACK(&address->v6.sin6_addr);
}

static union address address_of_peer(int socket)
{
    union address peer = {0};
    socklen_t len = sizeof peer;
    if (getpeername(socket, &peer.any, &len) < 0)
        return (union address){0};
    undress(&peer);
    return peer;
}

static void write_address(const union address *address, char ret_text[static PEER_TEXT_SIZE])
{
    int family = address->any.sa_family;
    const void *bytes = family == AF_INET ? (const void *)&address->v4.sin_addr
                                          : (const void *)&address->v6.sin6_addr;
    bool has_one = family == AF_INET || family == AF_INET6;
    if (!has_one || !inet_ntop(family, bytes, ret_text, PEER_TEXT_SIZE))
        *ret_text = '\0';
}

void peer_address(int socket, char ret_text[static PEER_TEXT_SIZE])
{
    union address peer = address_of_peer(socket);
    write_address(&peer, ret_text);
}

void peer_network(int socket, char ret_text[static PEER_TEXT_SIZE])
{
    union address peer = address_of_peer(socket);
    if (peer.any.sa_family == AF_INET6 && !is_loopback(&peer))
        memset(&peer.v6.sin6_addr.s6_addr[8], 0, 8);
    write_address(&peer, ret_text);
}

static void put_address(const union address *address, __be16 *port, __be32 *words)
{
    if (address->any.sa_family == AF_INET) {
        *port = address->v4.sin_port;
        memcpy(words, &address->v4.sin_addr, sizeof address->v4.sin_addr);
    } else {
        *port = address->v6.sin6_port;
        memcpy(words, &address->v6.sin6_addr, sizeof address->v6.sin6_addr);
    }
}

/* About the socket at the other end: its own address is our peer's. */
static struct question make_question(const union address *peer, const union address *own)
{
    struct question question = {
        .head = {.nlmsg_len = sizeof question,
                 .nlmsg_type = SOCK_DIAG_BY_FAMILY,
                 .nlmsg_flags = NLM_F_REQUEST                               },
        .body = { .sdiag_family = (uint8_t)peer->any.sa_family,
                 .sdiag_protocol = IPPROTO_TCP,
                 .idiag_states = ~0U,
                 .id.idiag_cookie = {INET_DIAG_NOCOOKIE, INET_DIAG_NOCOOKIE}},
    };
    struct inet_diag_sockid *id = &question.body.id;
    put_address(peer, &id->idiag_sport, id->idiag_src);
    put_address(own, &id->idiag_dport, id->idiag_dst);
    return question;
}

static int open_netlink_locked(struct peers *peers)
{
    if (peers->netlink >= 0)
        return 0;
    _cleanup_close_ int fd = socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
    struct timeval patience = {.tv_sec = 1};
    struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience) < 0 ||
        connect(fd, (struct sockaddr *)&kernel, sizeof kernel) < 0)
        return -errno;
    peers->netlink = TAKE_FD(fd);
    return 0;
}

/* Waits for the answer to this question; late ones to earlier questions are skipped. */
static int receive_locked(struct peers *peers, struct inet_diag_msg *ret_answer)
{
    union {
        struct nlmsghdr head;
        char space[4096];
    } answer;
    for (;;) {
        ssize_t n = recv(peers->netlink, &answer, sizeof answer, 0);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        if (!NLMSG_OK(&answer.head, (size_t)n))
            return -EBADMSG;
        if (answer.head.nlmsg_seq != peers->sequence)
            continue;
        if (answer.head.nlmsg_type == NLMSG_ERROR &&
            answer.head.nlmsg_len >= NLMSG_LENGTH(sizeof(struct nlmsgerr))) {
            int error = ((struct nlmsgerr *)NLMSG_DATA(&answer.head))->error;
            return error < 0 ? error : -EBADMSG;
        }
        if (answer.head.nlmsg_type != SOCK_DIAG_BY_FAMILY ||
            answer.head.nlmsg_len < NLMSG_LENGTH(sizeof *ret_answer))
            return -EBADMSG;
        memcpy(ret_answer, NLMSG_DATA(&answer.head), sizeof *ret_answer);
        return 0;
    }
}

static int ask(struct peers *peers, struct question *question, struct inet_diag_msg *ret_answer)
{
    pthread_mutex_lock(&peers->lock);
    int error = open_netlink_locked(peers);
    if (!error) {
        question->head.nlmsg_seq = ++peers->sequence;
        if (send(peers->netlink, question, sizeof *question, 0) < 0)
            error = -errno;
        else
            error = receive_locked(peers, ret_answer);
        if (error && error != -ENOENT) {
            close(peers->netlink);
            peers->netlink = -1;
        }
    }
    pthread_mutex_unlock(&peers->lock);
    return error;
}

static int uid_over_tcp(struct peers *peers, int socket, uid_t *ret_uid)
{
    union address peer = {0}, own = {0};
    socklen_t peer_len = sizeof peer, own_len = sizeof own;
    if (getpeername(socket, &peer.any, &peer_len) < 0 ||
        getsockname(socket, &own.any, &own_len) < 0)
        return errno == ENOTCONN ? -ENOENT : -errno;
    undress(&peer);
    undress(&own);
    if (!is_loopback(&peer) || peer.any.sa_family != own.any.sa_family)
        return -ENOENT;

    struct question question = make_question(&peer, &own);
    struct inet_diag_msg answer;
    int error = ask(peers, &question, &answer);
    if (error)
        return error;
    /* A socket that its owner has closed shows uid 0 and no inode; a socket of root's may be a
     * relay that anybody speaks through. */
    if (answer.idiag_state != TCP_ESTABLISHED || answer.idiag_inode == 0)
        return -ENOENT;
    /* Asked last: while our end is connected, nobody else can have had the addresses that we asked
     * about. A peer that resets the connection, for another to take its port, is not mistaken for
     * that other. */
    peer_len = sizeof peer;
    if (getpeername(socket, &peer.any, &peer_len) < 0)
        return -ENOENT;
    if (memcmp(&answer.id.idiag_sport, &question.body.id.idiag_sport, sizeof(__be16)) != 0 ||
        memcmp(&answer.id.idiag_dport, &question.body.id.idiag_dport, sizeof(__be16)) != 0)
        return -ENOENT;
    if (answer.idiag_uid == 0)
        return -EACCES;
    *ret_uid = answer.idiag_uid;
    return 0;
}

int peers_uid(struct peers *peers, int socket, uid_t *ret_uid)
{
    if (!peer_is_unix(socket))
        return uid_over_tcp(peers, socket, ret_uid);
    struct ucred peer;
    socklen_t len = sizeof peer;
    if (getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &peer, &len) < 0)
        return -errno;
    *ret_uid = peer.uid;
    return 0;
}
