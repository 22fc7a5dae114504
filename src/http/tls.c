#include "http/tls.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <pwd.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/log.h"

#define FILE_MAX 1048576 /* bytes */

static void free_bio(BIO **bio)
{
    BIO_free(*bio);
}

static void free_x509(X509 **cert)
{
    X509_free(*cert);
}

static void free_key(EVP_PKEY **key)
{
    EVP_PKEY_free(*key);
}

/* --- files --- */

static const char *own_name(void)
{
    const struct passwd *account = getpwuid(geteuid());
    return account ? account->pw_name : "its user";
}

static void explain(const char *setting, const char *path, int error)
{
    const char *user = own_name();
    if (error == -EACCES)
        log_error(
            "%s = %s: %s; the service runs as %s, who must be able to read it: chgrp ssl-cert "
            "and chmod 640 the file, adduser %s ssl-cert; or name systemd's copy of it "
            "(LoadCredential=)",
            setting, path, strerror(-error), user, user);
    else if (error == -EFBIG)
        log_error("%s = %s: a file of more than %d bytes is no PEM file", setting, path, FILE_MAX);
    else if (error == -EINVAL)
        log_error("%s = %s: this is not a file", setting, path);
    else
        log_error("%s = %s: %s", setting, path, strerror(-error));
}

/* The text, NUL-terminated. */
static int read_text(const char *path, char **ret_text, mode_t *ret_mode)
{
    struct stat status;
    _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0 || fstat(fd, &status) < 0)
        return -errno;
    if (!S_ISREG(status.st_mode))
        return -EINVAL;
    if (status.st_size > FILE_MAX)
        return -EFBIG;
    size_t size = (size_t)status.st_size;
    char *text = calloc(1, size + 1);
    if (!text)
        return -ENOMEM;
    ssize_t got = read(fd, text, size);
    if (got < 0) {
        int error = -errno;
        free(text);
        return error;
    }
    *ret_text = text;
    *ret_mode = status.st_mode;
    return 0;
}

static int read_files(const char *cert_path, const char *key_path, struct tls_pair *pair)
{
    mode_t mode;
    int error = read_text(cert_path, &pair->cert, &mode);
    if (error) {
        explain("tls-cert", cert_path, error);
        return error;
    }
    error = read_text(key_path, &pair->key, &mode);
    if (error)
        explain("tls-key", key_path, error);
    else if (mode & S_IROTH)
        log_warning("tls-key = %s: everybody on this machine may read it; chmod o= it", key_path);
    return error;
}

/* --- what is in them --- */

/* Nobody is there to be asked for a passphrase. */
static int on_passphrase(char *buffer, int size, int writing, void *data)
{
    (void)buffer, (void)size, (void)writing;
    *(bool *)data = true;
    return -1;
}

static X509 *parse_cert(const char *text, const char *path)
{
    _cleanup_(free_bio) BIO *bio = BIO_new_mem_buf(text, -1);
    bool encrypted = false;
    X509 *cert = bio ? PEM_read_bio_X509(bio, NULL, on_passphrase, &encrypted) : NULL;
    if (!cert)
        log_error("tls-cert = %s: there is no certificate in PEM form in it", path);
    return cert;
}

static EVP_PKEY *parse_key(const char *text, const char *path)
{
    _cleanup_(free_bio) BIO *bio = BIO_new_mem_buf(text, -1);
    bool encrypted = false;
    EVP_PKEY *key = bio ? PEM_read_bio_PrivateKey(bio, NULL, on_passphrase, &encrypted) : NULL;
    if (!key && encrypted)
        log_error("tls-key = %s: the key is encrypted, and the service has nobody to ask for the "
                  "passphrase; openssl pkey -in FILE -out FILE takes it away",
                  path);
    else if (!key)
        log_error("tls-key = %s: there is no private key in PEM form in it", path);
    return key;
}

static int make_pin(const X509 *cert, char ret_pin[static TLS_PIN_MAX])
{
    unsigned char hash[32], text[45], *der = NULL; /* SHA-256, and in base64 */
    unsigned size = 0;
    int len = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(cert), &der);
    bool made = len > 0 && EVP_Digest(der, (size_t)len, hash, &size, EVP_sha256(), NULL) == 1;
    OPENSSL_free(der);
    if (!made)
        return -ENOMEM;
    EVP_EncodeBlock(text, hash, (int)size);
    snprintf(ret_pin, TLS_PIN_MAX, "sha256//%s", (char *)text);
    return 0;
}

static void check_dates(const X509 *cert, const char *path)
{
    if (X509_cmp_current_time(X509_get0_notAfter(cert)) < 0)
        log_warning("tls-cert = %s: the certificate has expired, clients will not accept it; "
                    "renew it, then send SIGHUP",
                    path);
    else if (X509_cmp_current_time(X509_get0_notBefore(cert)) > 0)
        log_warning("tls-cert = %s: the certificate is not valid yet; is the clock right?", path);
}

static int check_pair(const char *cert_path, const char *key_path, struct tls_pair *pair)
{
    _cleanup_(free_x509) X509 *cert = parse_cert(pair->cert, cert_path);
    _cleanup_(free_key) EVP_PKEY *key = cert ? parse_key(pair->key, key_path) : NULL;
    if (!key)
        return -EINVAL;
    if (X509_check_private_key(cert, key) != 1) {
        log_error("tls-cert = %s and tls-key = %s do not belong together: the key is not that of "
                  "the (first) certificate",
                  cert_path, key_path);
        return -EINVAL;
    }
    check_dates(cert, cert_path);
    return make_pin(cert, pair->pin);
}

int tls_read(const char *cert_path, const char *key_path, struct tls_pair *ret_pair)
{
    struct tls_pair pair = {0};
    int error = read_files(cert_path, key_path, &pair);
    if (!error)
        error = check_pair(cert_path, key_path, &pair);
    ERR_clear_error();
    if (error)
        tls_release(&pair);
    else
        *ret_pair = pair;
    return error;
}

void tls_release(struct tls_pair *pair)
{
    if (pair->key)
        explicit_bzero(pair->key, strlen(pair->key));
    free(pair->key);
    free(pair->cert);
    *pair = (struct tls_pair){0};
}
