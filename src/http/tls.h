/*
 * A certificate and its private key, read from their files and checked before anybody is served
 * with them. The library only reads them here: the TLS is libmicrohttpd's.
 */
#pragma once

#define TLS_PIN_MAX 64

struct tls_pair {          /* both in PEM (RFC 7468), as text */
    char *cert;            /* the service's own certificate, then those of its issuers */
    char *key;             /* wiped by tls_release */
    char pin[TLS_PIN_MAX]; /* "sha256//BASE64" of the public key, as curl takes it (RFC 7469) */
};

/* Reads the pair. One that is not in date is taken, with a warning. 0 or a negative errno (logged:
 * which file, and what to do). */
int tls_read(const char *cert_path, const char *key_path, struct tls_pair *ret_pair);
void tls_release(struct tls_pair *pair);
