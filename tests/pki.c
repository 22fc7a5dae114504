#include "pki.h"

#include <check.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>

#include "harness.h"

static X509 *make_cert(const struct pki *pki, EVP_PKEY *key)
{
    X509 *cert = X509_new();
    ck_assert_ptr_nonnull(cert);
    X509_set_version(cert, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(cert), 1);
    X509_time_adj_ex(X509_getm_notBefore(cert), pki->from_days, 0, NULL);
    X509_time_adj_ex(X509_getm_notAfter(cert), pki->until_days, 0, NULL);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(cert), "CN", MBSTRING_ASC,
                               (const unsigned char *)"test", -1, -1, 0);
    X509_set_issuer_name(cert, X509_get_subject_name(cert));
    X509_set_pubkey(cert, key);
    X509_EXTENSION *names = X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name, pki->san);
    ck_assert_ptr_nonnull(names);
    X509_add_ext(cert, names, -1);
    X509_EXTENSION_free(names);
    ck_assert_int_gt(X509_sign(cert, key, EVP_sha256()), 0);
    return cert;
}

void pki_make(const struct pki *pki, const char *cert_path, const char *key_path)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    ck_assert_ptr_nonnull(key);
    X509 *cert = make_cert(pki, key);
    FILE *file = fopen(cert_path, "we");
    ck_assert(file && PEM_write_X509(file, cert) == 1);
    fclose(file);
    file = fopen(key_path, "we");
    const char *passphrase = pki->passphrase;
    ck_assert(file &&
              PEM_write_PrivateKey(file, key, passphrase ? EVP_aes_256_cbc() : NULL,
                                   (const unsigned char *)passphrase,
                                   passphrase ? (int)strlen(passphrase) : 0, NULL, NULL) == 1);
    fclose(file);
    X509_free(cert);
    EVP_PKEY_free(key);
}

const char *pki_pin(const char *cert_path)
{
    unsigned char hash[EVP_MAX_MD_SIZE], text[128], der[1024], *to = der;
    unsigned size;
    FILE *file = fopen(cert_path, "re");
    X509 *cert = file ? PEM_read_X509(file, NULL, NULL, NULL) : NULL;
    ck_assert_ptr_nonnull(cert);
    fclose(file);
    int len = i2d_PUBKEY(X509_get0_pubkey(cert), &to);
    ck_assert(len > 0 && (size_t)len < sizeof(der));
    EVP_Digest(der, (size_t)len, hash, &size, EVP_sha256(), NULL);
    EVP_EncodeBlock(text, hash, (int)size);
    X509_free(cert);
    return textf("sha256//%s", (char *)text);
}
