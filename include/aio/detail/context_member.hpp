// SPDX-License-Identifier: MIT
#pragma once

// What has an object of Asio inside, and may live longer than its io_context: it lets that object go in time.

#include "aio/config.hpp"
#include "aio/detail/keywords_off.hpp"  // before Asio

#include <memory>

#include "aio/detail/asio/execution_context.hpp"

#include "aio/detail/keywords_back.hpp"

#include "aio/detail/intrusive_list.hpp"
#pragma GCC visibility push(default)

namespace aio::inline AIO_ABI::detail {

struct context_member_tag {};

template <class Member>
class context_members;

/// The base of a class `Member`, whose context_ends() is called when the context goes; it has left it then.
template <class Member>
class context_member : public list_link<context_member_tag> {
 public:
  context_member() noexcept = default;
  context_member(context_member const&) = delete;
  context_member& operator=(context_member const&) = delete;

 protected:
  ~context_member() { leave_context(); }

  /// Throws: std::bad_alloc.
  void join_context(asio::execution_context& context) {
    asio::use_service<context_members<Member>>(context).add(*this);
  }
  void leave_context() noexcept {
    if (linked()) intrusive_list<context_member, context_member_tag>::remove(*this);
  }
};

/// One of these for each kind, so that a member needs no virtual function: there is one for each connection.
template <class Member>
class context_members final : public asio::execution_context::service {
 public:
  using key_type = context_members;
  static inline asio::execution_context::id id;  // NOLINT(readability-identifier-naming): Asio's name

  explicit context_members(asio::execution_context& context)
      : asio::execution_context::service(context), members_(std::make_unique<list>()) {}

  void add(context_member<Member>& member) noexcept { members_->push_back(member); }

 private:
  using list = intrusive_list<context_member<Member>, context_member_tag>;

  void shutdown() noexcept override {
    while (auto* const each = members_->front()) {
      list::remove(*each);
      static_cast<Member*>(each)->context_ends();
    }
  }
  std::unique_ptr<list> members_;
};

}  // namespace aio::inline AIO_ABI::detail

#pragma GCC visibility pop
