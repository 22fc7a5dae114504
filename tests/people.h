/*
 * Several users, for tests that root runs: accounts and homes (below harness_dir()) in a mount
 * namespace of our own, with its own /etc/passwd, group and shadow.
 */
#pragma once

#include "harness.h"

#define SERVICE_UID 951 /* _autodl */
#define ALICE_UID   51001
#define BOB_UID     51002
#define DORA_UID    51003
#define DAEMON_UID  952
#define OPERATORS   953
#define CREW        51010

extern const struct identity alice; /* in the group crew */
extern const struct identity bob;   /* "alias" is a second name of his */
extern const struct identity dora;  /* an operator */
extern const struct identity somed; /* a system account */
extern const struct identity root;

/* Makes them all. NULL, or why it cannot be done here. */
const char *make_accounts(void);
const char *home_of(const struct identity *who);
/* What a test left in their default directories. */
void remove_storage(void);
