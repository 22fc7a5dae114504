/*
 * Who may do what, written out once more (autodl-service(8), WHO MAY DO WHAT): each method of each
 * route, and what is answered to whom. Against it are held the routes, the manual page, and the
 * answers of the server alone and of the real service.
 */
#pragma once

#include <stddef.h>

enum who {
    NOBODY,   /* on TCP, without a name */
    OWNER,    /* of the task, or of what is done */
    OTHER,    /* another user; about the owner's task, where the route is about one */
    OPERATOR, /* a member of the operators' group, about the owner's task */
    ROOT,     /* on the unix socket, without another's name, about the owner's task */
    PEOPLE,   /* how many */
};

struct who_may {
    const char *method;
    const char *path;    /* as in the table of routes; its "*" is the owner's task */
    const char *query;   /* what makes this row another than the one before, or NULL */
    const char *needed;  /* further parameters of a good request, or NULL */
    const char *json;    /* its body, or NULL */
    const char *prepare; /* the verb that makes the task ready for it, or NULL */
    int status[PEOPLE];
};

extern const struct who_may who_may[];
extern const size_t who_may_count;
