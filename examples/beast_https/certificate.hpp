// SPDX-License-Identifier: MIT
#pragma once

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <cstddef>
#include <memory>
#include <stdexcept>
#include <string>

/// A certificate for a host, signed by itself, and its key; both as PEM. For a demonstration: a server has its files.
class self_signed {
 public:
  explicit self_signed(std::string const& host) {
    owned<EVP_PKEY> const key(EVP_EC_gen("P-256"), EVP_PKEY_free);
    owned<X509> const made(X509_new(), X509_free);
    if (!key || !made) throw std::runtime_error("no certificate could be made");
    X509_set_version(made.get(), X509_VERSION_3);
    ASN1_INTEGER_set(X509_get_serialNumber(made.get()), 1);
    X509_gmtime_adj(X509_getm_notBefore(made.get()), -3600);
    X509_gmtime_adj(X509_getm_notAfter(made.get()), 24 * 3600);
    X509_set_pubkey(made.get(), key.get());
    auto const* const name = reinterpret_cast<unsigned char const*>(host.c_str());
    X509_NAME_add_entry_by_txt(X509_get_subject_name(made.get()), "CN", MBSTRING_ASC, name, -1, -1, 0);
    X509_set_issuer_name(made.get(), X509_get_subject_name(made.get()));
    std::string const names = "DNS:" + host;
    owned<X509_EXTENSION> const of_host(X509V3_EXT_conf_nid(nullptr, nullptr, NID_subject_alt_name, names.c_str()),
                                        X509_EXTENSION_free);
    if (!of_host || X509_add_ext(made.get(), of_host.get(), -1) == 0 ||
        X509_sign(made.get(), key.get(), EVP_sha256()) == 0) {
      throw std::runtime_error("the certificate could not be signed");
    }
    certificate = written([&](BIO* to) { return PEM_write_bio_X509(to, made.get()); });
    private_key = written([&](BIO* to) {
      return PEM_write_bio_PrivateKey(to, key.get(), nullptr, nullptr, 0, nullptr, nullptr);
    });
  }

  std::string certificate;
  std::string private_key;

 private:
  template <class T>
  using owned = std::unique_ptr<T, void (*)(T*)>;

  template <class Write>
  static std::string written(Write write) {
    std::unique_ptr<BIO, int (*)(BIO*)> const memory(BIO_new(BIO_s_mem()), BIO_free);
    if (!memory || write(memory.get()) == 0) throw std::runtime_error("the certificate could not be written");
    char* text = nullptr;
    long const size = BIO_get_mem_data(memory.get(), &text);
    return {text, static_cast<std::size_t>(size)};
  }
};
