/* Keys and certificates for tests, as openssl(1) would make them. */
#pragma once

struct pki {
    const char *san;           /* "IP:192.0.2.1,DNS:dl.lan" */
    int from_days, until_days; /* from now */
    const char *passphrase;    /* of the key; NULL: none */
};

/* Writes CERT and KEY (paths; PEM), self-signed with P-256. */
void pki_make(const struct pki *pki, const char *cert_path, const char *key_path);
/* "sha256//BASE64" of the first certificate's key, worked out apart from the service; lives as long
 * as the test. */
const char *pki_pin(const char *cert_path);
