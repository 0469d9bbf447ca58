// SPDX-License-Identifier: MIT
#pragma once

// Certificates of authorities, servers and clients, sound ones and others, made where they are needed.

#include <cstddef>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <memory>
#include <random>
#include <string>
#include <system_error>
#include <vector>

#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include "aio/tls_context.hpp"
#include "aio/tls_error.hpp"

namespace aio_test {

template <auto Free>
struct freed {
  template <class T>
  void operator()(T* it) const noexcept {
    Free(it);
  }
};
using key_ptr = std::unique_ptr<EVP_PKEY, freed<EVP_PKEY_free>>;
using certificate_ptr = std::unique_ptr<X509, freed<X509_free>>;

inline key_ptr make_key() {
  std::unique_ptr<EVP_PKEY_CTX, freed<EVP_PKEY_CTX_free>> const made(EVP_PKEY_CTX_new_id(EVP_PKEY_EC, nullptr));
  EVP_PKEY_keygen_init(made.get());
  EVP_PKEY_CTX_set_ec_paramgen_curve_nid(made.get(), NID_X9_62_prime256v1);
  EVP_PKEY* key = nullptr;
  EVP_PKEY_keygen(made.get(), &key);
  return key_ptr(key);
}

class identity {
 public:
  /// Signed by `issuer`, or by itself. Days are counted from now.
  identity(std::string const& name, std::string const& alternative_names, identity const* issuer,
           bool authority = false, int from_day = -1, int to_day = 30)
      : key_(make_key()), certificate_(X509_new()) {
    static long serial = 0;
    X509* const made = certificate_.get();
    X509_set_version(made, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(made), ++serial);
    X509_gmtime_adj(X509_getm_notBefore(made), from_day * 86400L);
    X509_gmtime_adj(X509_getm_notAfter(made), to_day * 86400L);
    X509_set_pubkey(made, key_.get());
    X509_NAME_add_entry_by_txt(X509_get_subject_name(made), "CN", MBSTRING_ASC,
                               reinterpret_cast<unsigned char const*>(name.c_str()), -1, -1, 0);
    X509* const signs = issuer ? issuer->certificate_.get() : made;
    X509_set_issuer_name(made, X509_get_subject_name(signs));
    X509V3_CTX context;
    X509V3_set_ctx_nodb(&context);
    X509V3_set_ctx(&context, signs, made, nullptr, nullptr, 0);
    auto const extend = [&](int what, std::string const& value) {
      std::unique_ptr<X509_EXTENSION, freed<X509_EXTENSION_free>> const extension(
          X509V3_EXT_conf_nid(nullptr, &context, what, value.c_str()));
      X509_add_ext(made, extension.get(), -1);
    };
    extend(NID_basic_constraints, authority ? "critical,CA:TRUE" : "critical,CA:FALSE");
    if (authority) extend(NID_key_usage, "critical,keyCertSign,cRLSign");
    if (!alternative_names.empty()) extend(NID_subject_alt_name, alternative_names);
    X509_sign(made, issuer ? issuer->key_.get() : key_.get(), EVP_sha256());
  }

  [[nodiscard]] std::string pem() const {
    return text([this](BIO* to) { PEM_write_bio_X509(to, certificate_.get()); });
  }
  [[nodiscard]] std::string key(char const* password = nullptr) const {
    return text([&](BIO* to) {
      PEM_write_bio_PKCS8PrivateKey(to, key_.get(), password ? EVP_aes_128_cbc() : nullptr, password,
                                    password ? static_cast<int>(std::strlen(password)) : 0, nullptr, nullptr);
    });
  }
  /// A list of what it has revoked.
  [[nodiscard]] std::string revocations(std::vector<identity const*> const& revoked) const {
    std::unique_ptr<X509_CRL, freed<X509_CRL_free>> const made(X509_CRL_new());
    std::unique_ptr<ASN1_TIME, freed<ASN1_TIME_free>> const now(ASN1_TIME_new());
    X509_CRL_set_version(made.get(), 1);
    X509_CRL_set_issuer_name(made.get(), X509_get_subject_name(certificate_.get()));
    X509_gmtime_adj(now.get(), -60);
    X509_CRL_set1_lastUpdate(made.get(), now.get());
    for (identity const* each : revoked) {
      X509_REVOKED* const one = X509_REVOKED_new();
      X509_REVOKED_set_serialNumber(one, X509_get_serialNumber(each->certificate_.get()));
      X509_REVOKED_set_revocationDate(one, now.get());
      X509_CRL_add0_revoked(made.get(), one);
    }
    X509_gmtime_adj(now.get(), 86400);
    X509_CRL_set1_nextUpdate(made.get(), now.get());
    X509_CRL_sign(made.get(), key_.get(), EVP_sha256());
    return text([&](BIO* to) { PEM_write_bio_X509_CRL(to, made.get()); });
  }

 private:
  template <class Fn>
  static std::string text(Fn const& write) {
    std::unique_ptr<BIO, freed<BIO_free>> const to(BIO_new(BIO_s_mem()));
    write(to.get());
    char* data = nullptr;
    long const size = BIO_get_mem_data(to.get(), &data);
    return {data, static_cast<std::size_t>(size)};
  }

  key_ptr key_;
  certificate_ptr certificate_;
};

/// The files of an authority, and of those whom it vouches for.
class files {
 public:
  files() : folder_(std::filesystem::temp_directory_path() / ("aio_tls_" + std::to_string(std::random_device()()))) {
    std::filesystem::create_directories(folder_);
    put("ca.pem", root_.pem());
    put("other-ca.pem", other_root_.pem());
    put_identity("server", server_);
    put_identity("expired", identity("localhost", "DNS:localhost", &root_, false, -30, -2));
    put_identity("early", identity("localhost", "DNS:localhost", &root_, false, 2, 30));
    put_identity("self", identity("localhost", "DNS:localhost", nullptr));
    put_identity("client", identity("Ann Client", "", &root_));
    put_identity("expired-client", identity("Old Client", "", &root_, false, -30, -2));
    put_identity("stranger", identity("Stranger", "", &other_root_));
    identity const below("localhost", "DNS:localhost", &intermediate_);
    put_identity("leaf", below);
    put("chain.pem", below.pem() + intermediate_.pem());
    put("secret.key", server_.key("password"));
    put("revoked.crl", root_.revocations({&server_}));
    put("none-revoked.crl", root_.revocations({}));
  }
  ~files() {
    aio::error_code ignored;
    std::filesystem::remove_all(folder_, ignored);
  }
  [[nodiscard]] std::filesystem::path operator()(std::string const& name) const { return folder_ / name; }

 private:
  void put(std::string const& name, std::string const& text) const { std::ofstream(folder_ / name) << text; }
  void put_identity(std::string const& name, identity const& whom) const {
    put(name + ".pem", whom.pem());
    put(name + ".key", whom.key());
  }

  std::filesystem::path folder_;
  identity root_{"Root", "", nullptr, true};
  identity other_root_{"Other root", "", nullptr, true};
  identity intermediate_{"Intermediate", "", &root_, true};
  identity server_{"localhost", "DNS:localhost,DNS:*.example.org,IP:127.0.0.1,IP:fe80::1", &root_};
};

inline files const& file() {
  static files const all;
  return all;
}

inline aio::tls_context server_of(std::string const& name = "server") {
  return aio::tls_context::server(file()(name + ".pem"), file()(name + ".key"));
}
inline aio::tls_context client_of(std::string const& authority = "ca.pem") {
  return aio::tls_context::client(file()(authority));
}

/// As OpenSSL has called those that SSL 3 had already.
inline std::string alert(std::string const& what) {
  return (OPENSSL_VERSION_NUMBER >= 0x30200000L ? "ssl/tls alert " : "sslv3 alert ") + what;
}
inline std::string verify_text(int why) { return aio::tls_verify_category().message(why); }

inline void limit_version(aio::tls_context& context, int version) {
  SSL_CTX_set_min_proto_version(context.native_handle(), version);
  SSL_CTX_set_max_proto_version(context.native_handle(), version);
}

}  // namespace aio_test
