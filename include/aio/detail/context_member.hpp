// SPDX-License-Identifier: MIT
#pragma once

// What has an object of Asio inside, and may live longer than its io_context: it lets that object go in time.

#include "aio/config.hpp"
#include "aio/detail/keywords_off.hpp"  // before Asio

#include <memory>

#include <asio/execution_context.hpp>

#include "aio/detail/keywords_back.hpp"

#include "aio/detail/intrusive_list.hpp"
#pragma GCC visibility push(default)

namespace aio::detail {

struct context_member_tag {};

class context_member : public list_link<context_member_tag> {
 public:
  context_member() noexcept = default;
  context_member(context_member const&) = delete;
  context_member& operator=(context_member const&) = delete;

 protected:
  ~context_member() { leave_context(); }

  /// Throws: std::bad_alloc.
  inline void join_context(asio::execution_context& context);
  void leave_context() noexcept {
    if (linked()) intrusive_list<context_member, context_member_tag>::remove(*this);
  }

 private:
  friend class context_members;
  /// The context goes; this has left it.
  virtual void context_ends() noexcept = 0;
};

class context_members final : public asio::execution_context::service {
 public:
  using key_type = context_members;
  static inline asio::execution_context::id id;  // NOLINT(readability-identifier-naming): Asio's name

  explicit context_members(asio::execution_context& context)
      : asio::execution_context::service(context),
        members_(std::make_unique<intrusive_list<context_member, context_member_tag>>()) {}

  void add(context_member& member) noexcept { members_->push_back(member); }

 private:
  void shutdown() noexcept override {
    while (auto* const each = members_->front()) {
      members_->remove(*each);
      each->context_ends();
    }
  }
  std::unique_ptr<intrusive_list<context_member, context_member_tag>> members_;
};

inline void context_member::join_context(asio::execution_context& context) {
  asio::use_service<context_members>(context).add(*this);
}

}  // namespace aio::detail

#pragma GCC visibility pop
