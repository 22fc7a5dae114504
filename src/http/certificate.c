#include "http/certificate.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <netdb.h>
#include <netinet/in.h>
#include <openssl/bn.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/buf.h"
#include "common/cleanup.h"
#include "common/log.h"
#include "http/head.h"

#define CERT_FILE       "tls-cert.pem"
#define KEY_FILE        "tls-key.pem"
#define VALID_DAYS      3653
#define CLOCK_TOLERANCE 3600 /* seconds that other machines' clocks may be behind */
#define COMMON_NAME_MAX 64   /* RFC 5280, ub-common-name */
#define SERIAL_BYTES    16
#define NAMES_MAX       65536 /* bytes */

/* What the certificate is made out to. */
struct names {
    GENERAL_NAMES *list;
    struct buf text;
};

static void free_x509(X509 **cert)
{
    X509_free(*cert);
}

static void free_key(EVP_PKEY **key)
{
    EVP_PKEY_free(*key);
}

static void close_file(FILE **file)
{
    if (*file)
        fclose(*file);
}

static void names_release(struct names *names)
{
    GENERAL_NAMES_free(names->list);
    buf_release(&names->text);
}

static void destroy_names(struct head_names **names)
{
    head_names_destroy(*names);
}

/* --- names --- */

/* `raw`: an address in network order; else the text is a DNS name. */
static int push(struct names *names, const char *text, const void *raw, size_t raw_len)
{
    GENERAL_NAME *name = GENERAL_NAME_new();
    ASN1_STRING *value = raw ? ASN1_OCTET_STRING_new() : ASN1_IA5STRING_new();
    const void *data = raw ? raw : text;
    if (!name || !value || !ASN1_STRING_set(value, data, raw ? (int)raw_len : (int)strlen(text))) {
        GENERAL_NAME_free(name);
        ASN1_STRING_free(value);
        return -ENOMEM;
    }
    GENERAL_NAME_set0_value(name, raw ? GEN_IPADD : GEN_DNS, value);
    if (!sk_GENERAL_NAME_push(names->list, name)) {
        GENERAL_NAME_free(name);
        return -ENOMEM;
    }
    return buf_printf(&names->text, "%s%s", names->text.len ? ", " : "", text);
}

/* Letters, digits, hyphens and dots: others are for no certificate. */
static bool is_dns_name(const char *name)
{
    static const char letters[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-.";
    return *name && *name != '.' && !name[strspn(name, letters)];
}

static bool has_name(const struct names *names, const char *name)
{
    size_t len = strlen(name);
    for (const char *at = names->text.len ? names->text.data : ""; *at;) {
        size_t end = strcspn(at, ",");
        if (end == len && strncasecmp(at, name, len) == 0)
            return true;
        at += end + strspn(at + end, ", ");
    }
    return false;
}

static int add_name(struct names *names, const char *name)
{
    struct in_addr v4;
    struct in6_addr v6;
    if (has_name(names, name))
        return 0;
    if (inet_pton(AF_INET, name, &v4) == 1)
        return push(names, name, &v4, sizeof v4);
    if (inet_pton(AF_INET6, name, &v6) == 1)
        return push(names, name, &v6, sizeof v6);
    return is_dns_name(name) ? push(names, name, NULL, 0) : 0;
}

/* As hostname -f says; that may ask DNS, and take its time. */
static int add_full_name(struct names *names)
{
    char host[HOST_NAME_MAX + 1] = "";
    struct addrinfo hints = {.ai_flags = AI_CANONNAME, .ai_socktype = SOCK_STREAM}, *found;
    if (gethostname(host, sizeof host - 1) < 0 || getaddrinfo(host, NULL, &hints, &found) != 0)
        return 0;
    int error = found->ai_canonname ? add_name(names, found->ai_canonname) : 0;
    freeaddrinfo(found);
    return error;
}

/* Those of links alone are left out: they mean nothing without the link. */
static int add_addresses(struct names *names)
{
    struct ifaddrs *list;
    int error = 0;
    if (getifaddrs(&list) < 0)
        return 0;
    for (const struct ifaddrs *one = list; one && !error; one = one->ifa_next) {
        char text[INET6_ADDRSTRLEN];
        int family = one->ifa_addr ? one->ifa_addr->sa_family : AF_UNSPEC;
        const struct in6_addr *v6 = &((const struct sockaddr_in6 *)one->ifa_addr)->sin6_addr;
        const struct in_addr *v4 = &((const struct sockaddr_in *)one->ifa_addr)->sin_addr;
        if (family != AF_INET && (family != AF_INET6 || IN6_IS_ADDR_LINKLOCAL(v6)))
            continue;
        const void *raw = family == AF_INET ? (const void *)v4 : (const void *)v6;
        error = add_name(names, inet_ntop(family, raw, text, sizeof text));
    }
    freeifaddrs(list);
    return error;
}

static int collect_names(const struct settings *settings, struct names *names)
{
    _cleanup_(destroy_names) struct head_names *ours = NULL;
    names->list = GENERAL_NAMES_new();
    int error = names->list ? head_names_create(settings, &ours) : -ENOMEM;
    const char *name;
    for (size_t i = 0; !error && (name = head_names_at(ours, i)); i++)
        error = add_name(names, name);
    if (!error)
        error = add_full_name(names);
    return error ? error : add_addresses(names);
}

/* --- the certificate --- */

static int set_subject(X509 *cert)
{
    char host[COMMON_NAME_MAX + 1] = "";
    (void)gethostname(host, sizeof host - 1);
    X509_NAME *subject = X509_get_subject_name(cert);
    const unsigned char *name = (const unsigned char *)(*host ? host : "autodl");
    if (!X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_UTF8, name, -1, -1, 0) ||
        !X509_set_issuer_name(cert, subject))
        return -ENOMEM;
    return 0;
}

static int set_serial(X509 *cert)
{
    unsigned char bytes[SERIAL_BYTES];
    if (RAND_bytes(bytes, sizeof bytes) != 1)
        return -EIO;
    bytes[0] &= 0x7f; /* positive (RFC 5280, 4.1.2.2) */
    BIGNUM *number = BN_bin2bn(bytes, sizeof bytes, NULL);
    bool set = number && BN_to_ASN1_INTEGER(number, X509_get_serialNumber(cert));
    BN_free(number);
    return set ? 0 : -ENOMEM;
}

static int add_extension(X509 *cert, int id, const char *value)
{
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, NULL, id, value);
    bool added = extension && X509_add_ext(cert, extension, -1);
    X509_EXTENSION_free(extension);
    return added ? 0 : -ENOMEM;
}

static int set_extensions(X509 *cert, GENERAL_NAMES *names)
{
    int error = add_extension(cert, NID_basic_constraints, "critical,CA:FALSE");
    if (!error)
        error = add_extension(cert, NID_key_usage, "critical,digitalSignature");
    if (!error)
        error = add_extension(cert, NID_ext_key_usage, "serverAuth");
    if (!error && X509_add1_ext_i2d(cert, NID_subject_alt_name, names, 0, 0) != 1)
        error = -ENOMEM;
    return error;
}

static int make_cert(EVP_PKEY *key, GENERAL_NAMES *names, X509 **ret_cert)
{
    _cleanup_(free_x509) X509 *cert = X509_new();
    if (!cert || !X509_set_version(cert, X509_VERSION_3) ||
        !X509_gmtime_adj(X509_getm_notBefore(cert), -CLOCK_TOLERANCE) ||
        !X509_time_adj_ex(X509_getm_notAfter(cert), VALID_DAYS, 0, NULL) ||
        !X509_set_pubkey(cert, key))
        return -ENOMEM;
    int error = set_serial(cert);
    if (!error)
        error = set_subject(cert);
    if (!error)
        error = set_extensions(cert, names);
    if (!error && !X509_sign(cert, key, EVP_sha256()))
        error = -EIO;
    if (!error)
        *ret_cert = TAKE_PTR(cert);
    return error;
}

/* --- files --- */

/* The directory as an absolute path, made if missing. */
static char *open_directory(const char *directory)
{
    if (mkdir(directory, 0755) < 0 && errno != EEXIST) {
        log_error("--make-cert %s: cannot be made: %s", directory, strerror(errno));
        return NULL;
    }
    char *path = realpath(directory, NULL);
    if (!path)
        log_error("--make-cert %s: %s", directory, strerror(errno));
    return path;
}

static FILE *create(const char *path, mode_t mode)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode);
    FILE *file = fd < 0 ? NULL : fdopen(fd, "w");
    if (!file && errno == EEXIST)
        log_error("%s is there already and is not overwritten; move it away, or name another "
                  "directory",
                  path);
    else if (!file)
        log_error("%s cannot be made: %s", path, strerror(errno));
    return file;
}

static int written(FILE *file, bool whole, const char *path)
{
    if (whole && fflush(file) == 0 && fsync(fileno(file)) == 0)
        return 0;
    int error = errno ? -errno : -EIO;
    log_error("%s cannot be written: %s", path, strerror(-error));
    return error;
}

/* The service reads it as run-as. */
static int give_to_service(FILE *file, const char *path, const char *run_as)
{
    const struct passwd *user = getpwnam(run_as);
    if (!user) {
        log_warning("there is no user %s yet, who has to be able to read %s: then chgrp it to that "
                    "user's group, and chmod 640",
                    run_as, path);
        return 0;
    }
    if (fchown(fileno(file), (uid_t)-1, user->pw_gid) == 0 && fchmod(fileno(file), 0640) == 0)
        return 0;
    int error = -errno;
    log_error("%s cannot be given to the group of %s: %s", path, run_as, strerror(-error));
    return error;
}

static int write_key(const struct certificate *made, EVP_PKEY *key, const char *run_as)
{
    _cleanup_(close_file) FILE *file = create(made->key_path, 0600);
    if (!file)
        return -EEXIST;
    bool whole = PEM_write_PrivateKey(file, key, NULL, NULL, 0, NULL, NULL) == 1;
    int error = written(file, whole, made->key_path);
    if (!error && run_as)
        error = give_to_service(file, made->key_path, run_as);
    if (error)
        unlink(made->key_path);
    return error;
}

static int write_cert(const struct certificate *made, X509 *cert)
{
    _cleanup_(close_file) FILE *file = create(made->cert_path, 0644);
    if (!file)
        return -EEXIST;
    int error = written(file, PEM_write_X509(file, cert) == 1, made->cert_path);
    if (!error && fchmod(fileno(file), 0644) < 0)
        error = -errno;
    if (error)
        unlink(made->cert_path);
    return error;
}

/* Both or neither. */
static int write_files(struct certificate *made, X509 *cert, EVP_PKEY *key, const char *run_as)
{
    int error = write_cert(made, cert);
    if (error)
        return error;
    error = write_key(made, key, run_as);
    if (error) {
        unlink(made->cert_path);
        return error;
    }
    struct tls_pair pair;
    error = tls_read(made->cert_path, made->key_path, &pair);
    if (!error) {
        memcpy(made->pin, pair.pin, sizeof made->pin);
        tls_release(&pair);
    }
    return error;
}

/* --- all of it --- */

static int make(const struct settings *settings, const char *run_as, struct certificate *made)
{
    _cleanup_(names_release) struct names names = {0};
    _cleanup_(free_key) EVP_PKEY *key = EVP_EC_gen("P-256");
    _cleanup_(free_x509) X509 *cert = NULL;
    buf_init(&names.text, NAMES_MAX);
    int error = collect_names(settings, &names);
    if (!error)
        error = key ? make_cert(key, names.list, &cert) : -ENOMEM;
    if (error)
        log_error("the certificate cannot be made: %s", strerror(-error));
    else
        error = write_files(made, cert, key, run_as);
    if (!error)
        made->names = buf_take(&names.text);
    return error;
}

int certificate_make(const char *directory, const struct settings *settings, bool system_mode,
                     struct certificate *ret_certificate)
{
    struct certificate made = {0};
    _cleanup_free_ char *path = open_directory(directory);
    if (!path)
        return -ENOENT;
    int error = -ENOMEM;
    if (asprintf(&made.cert_path, "%s/" CERT_FILE, path) < 0)
        made.cert_path = NULL;
    else if (asprintf(&made.key_path, "%s/" KEY_FILE, path) < 0)
        made.key_path = NULL;
    else
        error = make(settings, system_mode ? settings->run_as : NULL, &made);
    ERR_clear_error();
    if (error)
        certificate_release(&made);
    else
        *ret_certificate = made;
    return error;
}

void certificate_release(struct certificate *certificate)
{
    free(certificate->cert_path);
    free(certificate->key_path);
    free(certificate->names);
    *certificate = (struct certificate){0};
}
