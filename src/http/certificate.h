/*
 * Makes a private key, and a certificate that it signs itself, for a service that no authority
 * vouches for: clients trust it by --cacert or by its pin.
 */
#pragma once

#include <stdbool.h>

#include "core/settings.h"
#include "http/tls.h"

struct certificate {
    char *cert_path, *key_path; /* absolute */
    char *names;                /* that it is made out to, separated by ", " */
    char pin[TLS_PIN_MAX];
};

/*
 * Writes tls-cert.pem and tls-key.pem into the directory (made if missing), for the names and
 * addresses of this machine and the settings' host-names, valid for ten years. In `system_mode` the
 * group of run-as may read the key, if there is that user; else its owner alone. What is there is
 * never overwritten. 0 or a negative errno (logged).
 */
int certificate_make(const char *directory, const struct settings *settings, bool system_mode,
                     struct certificate *ret_certificate);
void certificate_release(struct certificate *certificate);
