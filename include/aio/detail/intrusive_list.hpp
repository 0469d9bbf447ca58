// SPDX-License-Identifier: MIT
#pragma once

// A doubly linked list through its elements, which leave it in constant time.

#include "aio/config.hpp"

#include <cstddef>
#include <type_traits>

#pragma GCC visibility push(default)

namespace aio::inline AIO_ABI::detail {

/// A tag of links that are never asked whether they are linked(), and so need not remember it.
struct forgetful {};

/// A link; `Tag` lets one class stand in several lists.
template <class Tag>
struct list_link {
  static constexpr bool remembers = !std::is_base_of_v<forgetful, Tag>;

  list_link() noexcept {
    if constexpr (remembers) previous = next = nullptr;
  }

  [[nodiscard]] bool linked() const noexcept
    requires remembers
  {
    return next != nullptr;
  }

  list_link* previous;
  list_link* next;
};

/// T derives from list_link<Tag>. The list does not own its elements.
template <class T, class Tag>
class intrusive_list {
  using link_type = list_link<Tag>;

 public:
  intrusive_list() noexcept { end_.previous = end_.next = &end_; }
  /// Leaves its elements linked to nothing: an awaiter finds that what it waited for is gone.
  ~intrusive_list()
    requires link_type::remembers
  {
    for (list_link<Tag>* link = end_.next; link != &end_;) {
      list_link<Tag>* const next = link->next;
      link->previous = link->next = nullptr;
      link = next;
    }
  }
  ~intrusive_list() = default;
  intrusive_list(intrusive_list const&) = delete;
  intrusive_list& operator=(intrusive_list const&) = delete;

  [[nodiscard]] bool empty() const noexcept { return end_.next == &end_; }

  void push_back(T& item) noexcept {
    list_link<Tag>& link = item;
    if constexpr (link_type::remembers) AIO_ASSERT(!link.linked());
    link.previous = end_.previous;
    link.next = &end_;
    end_.previous->next = &link;
    end_.previous = &link;
  }

  /// Appends several, of which the list knows from finish() on.
  class appender {
   public:
    explicit appender(intrusive_list& to) noexcept : end_(to.end_), last_(to.end_.previous) {}
    appender(appender const&) = delete;

    AIO_ALWAYS_INLINE void push_back(T& item) noexcept {
      list_link<Tag>& link = item;
      link.previous = last_;
      link.next = &end_;
      last_->next = &link;
      last_ = &link;
    }
    void finish() noexcept { end_.previous = last_; }

   private:
    list_link<Tag>& end_;
    list_link<Tag>* last_;
  };

  static void remove(T& item) noexcept {
    list_link<Tag>& link = item;
    if constexpr (link_type::remembers) AIO_ASSERT(link.linked());
    link.previous->next = link.next;
    link.next->previous = link.previous;
    if constexpr (link_type::remembers) link.previous = link.next = nullptr;
  }

  /// A place in the list: that of an element, or the end.
  using position = list_link<Tag>*;
  [[nodiscard]] position end() noexcept { return &end_; }
  /// Requires: not the end.
  [[nodiscard]] static T& element(position at) noexcept { return static_cast<T&>(*at); }

  /// The first element, or null.
  [[nodiscard]] T* front() noexcept { return at(end_.next); }

  /// The element behind `item`, or null.
  [[nodiscard]] T* after(T& item) noexcept { return at(static_cast<list_link<Tag>&>(item).next); }

  /// The last element, and the one before `item`; or null.
  [[nodiscard]] T* back() noexcept { return at(end_.previous); }
  [[nodiscard]] T* before(T& item) noexcept { return at(static_cast<list_link<Tag>&>(item).previous); }

  /// How many stand before `item`. Linear.
  [[nodiscard]] std::size_t count_before(T const& item) const noexcept {
    std::size_t count = 0;
    list_link<Tag> const& of = item;
    for (list_link<Tag> const* link = of.previous; link != &end_; link = link->previous) ++count;
    return count;
  }

 private:
  T* at(list_link<Tag>* link) noexcept { return link == &end_ ? nullptr : &static_cast<T&>(*link); }

  list_link<Tag> end_;
};

}  // namespace aio::inline AIO_ABI::detail

#pragma GCC visibility pop
